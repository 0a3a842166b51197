"""Files of some kilobytes that unpack to gigabytes are refused before that memory is taken."""

import resource
import sys
import zipfile
from pathlib import Path

import datasets
import pyarrow
import pytest
from pyarrow import parquet

from refilm.data.importing import bombs, hub
from refilm.data.importing.columns import Columns
from refilm.data.importing.parquet import parquet_rows

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the memory of a process")
MIB = 2**20


def one_value() -> dict:
    return {"video": pyarrow.array([bytes(150 * MIB)])}


def one_of_a_dictionary() -> dict:
    """Its column says that it has a quarter of a MiB: how often a value is repeated is no size."""
    often = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 2000, pyarrow.int32()), [bytes(MIB // 4)])
    return {"video": ["1.mp4"], "references": pyarrow.ListArray.from_arrays([0, 2000], often)}


@pytest.fixture
def small(monkeypatch) -> tuple[int, int]:
    monkeypatch.setattr(bombs, "MOST", 100 * MIB)
    return resource.getrlimit(resource.RLIMIT_DATA)


@pytest.mark.parametrize("columns", [one_value, one_of_a_dictionary])
def test_parquet(tmp_path, small, columns):
    path = tmp_path / "clips.parquet"
    table = pyarrow.table({"caption": ["a dog"], **columns()})
    parquet.write_table(table, path, compression="zstd", store_schema=False, dictionary_pagesize_limit=2**30)
    assert path.stat().st_size < 100_000
    del table
    with pytest.raises(ValueError, match=r"clips\.parquet: takes more than 104,857,600 bytes to unpack; leave it out"):
        list(parquet_rows([path], Columns({}), allow_outside=False))
    assert resource.getrlimit(resource.RLIMIT_DATA) == small


def test_what_fits_is_read_row_by_row(tmp_path, small):
    """All rows together are over what one may take."""
    path = tmp_path / "clips.parquet"
    videos = [bytes([number]) * 15 * MIB for number in range(12)]
    table = pyarrow.table({"caption": ["a dog"] * 12, "video": videos})
    parquet.write_table(table, path, compression="zstd", use_dictionary=False)
    rows = parquet_rows([path], Columns({}), allow_outside=False)
    assert [row.video.content[0] for row in rows] == list(range(12))


def test_archives_of_the_hub(tmp_path, small, monkeypatch):
    """The datasets library names members of archives; these are read within the same bounds."""
    with zipfile.ZipFile(tmp_path / "clips.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.mp4", bytes(150 * MIB))
        archive.writestr("2.mp4", b"small")
    monkeypatch.setattr(hub.re, "fullmatch", lambda *_: True)  # that it lies on the Hub is told by its name
    files = hub._HubFiles(Path(), allow_outside=False)
    place = f"zip://%s::{tmp_path / 'clips.zip'}"
    assert files.at(place % "2.mp4", "row 1").content == b"small"
    with pytest.raises(
        ValueError, match=r"row 1: 'zip://1\.mp4.*' takes more than 104,857,600 bytes: leave it out|takes"
    ):
        files.at(place % "1.mp4", "row 1")


def test_streamed_rows(tmp_path, small, monkeypatch):
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "owner" / "name"
    home.mkdir(parents=True)
    datasets.Dataset(pyarrow.table({"caption": ["a dog"], **one_value()})).to_parquet(home / "train-0.parquet")
    with pytest.raises(ValueError, match="owner/name: takes more than 104,857,600 bytes to unpack"):
        list(hub.hub_rows("owner/name", "train", Columns({})))
