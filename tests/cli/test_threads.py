"""Every command lets the threads that wait for work sleep, before torch is there, unless the user has chosen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from refilm.cli.threads import CHOSEN_WITH, SLEEPING

WAYS = {"refilm": [str(Path(sys.executable).with_name("refilm"))], "module": [sys.executable, "-m", "refilm.cli"]}
WITNESS = """
import os, sys
class Torch:  # when torch is first looked for, it says what the environment is, and that is enough
    def find_spec(self, name, *rest):
        if name == "torch":
            print([os.environ.get(name) for name in ("OMP_WAIT_POLICY", "KMP_BLOCKTIME")], flush=True)
            os._exit(7)
sys.meta_path.insert(0, Torch())
"""


def seen(tmp_path, way: str, **own: str) -> str:
    """How threads wait when a command imports torch."""
    (tmp_path / "sitecustomize.py").write_text(WITNESS)
    environment = {name: value for name, value in os.environ.items() if name not in CHOSEN_WITH}
    path = os.pathsep.join([str(tmp_path), *sys.path])
    environment |= {"PYTHONPATH": path, **own}
    done = subprocess.run(
        [*WAYS[way], "info", "pocket"], stdout=subprocess.PIPE, text=True, env=environment, timeout=600
    )
    assert done.returncode == 7
    return done.stdout.strip()


@pytest.mark.parametrize("way", WAYS)
def test_they_sleep(tmp_path, way):
    assert seen(tmp_path, way) == str([*SLEEPING.values()])


def test_what_the_user_chose_stays(tmp_path):
    assert seen(tmp_path, "refilm", OMP_WAIT_POLICY="active") == "['active', None]"
