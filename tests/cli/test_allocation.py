import ctypes
import subprocess
import sys

import pytest

ROUNDS = """
import resource, torch
from refilm.cli.allocation import keep_freed_memory
assert {kept} is False or keep_freed_memory()
input, faults = torch.ones(1 << 23), []
for round in range(20):
    torch.relu(input + 1) * 2
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[-6])
"""


def page_faults(*, kept: bool) -> int:
    """Of five rounds of large tensors that come and go, after fifteen others."""
    script = ROUNDS.format(kept=kept)
    return int(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_large_tensors_take_the_memory_of_those_that_went():
    assert page_faults(kept=True) * 20 < page_faults(kept=False)
