"""Files of some kilobytes that unpack to gigabytes are refused before that memory is taken."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .unpacked import prepare

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the memory of a process")
SCRIPT = Path(__file__).with_name("unpacked.py")
TOO_MUCH = "takes more than 104,857,600 bytes"


@pytest.fixture
def unpacked(tmp_path, monkeypatch):
    """Returns the output of reading one of the script's files, with a limit of 100 MiB per row."""

    def read(case: str) -> str:
        monkeypatch.chdir(tmp_path)
        prepare(case)
        done = subprocess.run([sys.executable, str(SCRIPT), case], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return read


@pytest.mark.parametrize(
    ("case", "complaint"),
    [
        ("one value", rf"clips\.parquet: {TOO_MUCH} to unpack; exclude it"),
        ("one of a dictionary", rf"clips\.parquet: {TOO_MUCH} to unpack; exclude it"),
        ("archive", rf"row 1: 'zip://1\.mp4.*': {TOO_MUCH}"),
        ("hub", f"owner/name: {TOO_MUCH} to unpack"),
    ],
)
def test_what_takes_too_much_is_refused(unpacked, case, complaint):
    assert re.search(complaint, unpacked(case))


def test_what_fits_is_read_row_by_row(unpacked):
    assert unpacked("rows that fit") == str(list(range(12)))
