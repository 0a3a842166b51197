"""Files of some kilobytes that unpack to gigabytes are refused before that memory is taken."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the memory of a process")
SCRIPT = Path(__file__).with_name("unpacked.py")
TOO_MUCH = "takes more than 104,857,600 bytes"


def unpacked(case: str, folder: Path) -> str:
    """The output of reading one of the script's files, with a limit of 100 MiB per row."""
    said = ""
    for part in ("prepare", "read"):
        command = [sys.executable, str(SCRIPT), case, part]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        said = done.stdout.strip()
    return said


@pytest.mark.parametrize(
    ("case", "complaint"),
    [
        ("one value", rf"clips\.parquet: {TOO_MUCH} to unpack; exclude it"),
        ("one of a dictionary", rf"clips\.parquet: {TOO_MUCH} to unpack; exclude it"),
        ("archive", rf"row 1: 'zip://1\.mp4.*': {TOO_MUCH}"),
        ("hub", f"owner/name: {TOO_MUCH} to unpack"),
    ],
)
def test_what_takes_too_much_is_refused(tmp_path, case, complaint):
    assert re.search(complaint, unpacked(case, tmp_path))


def test_what_fits_is_read_row_by_row(tmp_path):
    assert unpacked("rows that fit", tmp_path) == str(list(range(12)))
