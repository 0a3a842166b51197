"""The cases of `test_bombs`. As a script it reads one, in a process whose memory nothing else has used.

    python unpacked.py CASE

Prints the error that ends it, or what was read.
"""

import resource
import sys
import zipfile
from pathlib import Path

import datasets
import pyarrow
from pyarrow import parquet

from refilm.data.importing import bombs, hub
from refilm.data.importing.columns import Columns
from refilm.data.importing.parquet import parquet_rows

MIB = 2**20


def one_value() -> dict:
    return {"video": pyarrow.array([bytes(150 * MIB)])}


def one_of_a_dictionary() -> dict:
    """Its column says that it has a quarter of a MiB: how often a value is repeated is no size."""
    often = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 2000, pyarrow.int32()), [bytes(MIB // 4)])
    return {"video": ["1.mp4"], "references": pyarrow.ListArray.from_arrays([0, 2000], often)}


def parquet_file(columns: dict) -> None:
    table = pyarrow.table({"caption": ["a dog"], **columns})
    parquet.write_table(table, "clips.parquet", compression="zstd", store_schema=False, dictionary_pagesize_limit=2**30)
    assert Path("clips.parquet").stat().st_size < 100_000


def read_parquet() -> list:
    return list(parquet_rows([Path("clips.parquet")], Columns({}), allow_outside=False))


def rows_that_fit() -> None:
    """All together are over what one may take."""
    videos = [bytes([number]) * 15 * MIB for number in range(12)]
    table = pyarrow.table({"caption": ["a dog"] * 12, "video": videos})
    parquet.write_table(table, "clips.parquet", compression="zstd", use_dictionary=False)


def archive() -> None:
    with zipfile.ZipFile("clips.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("1.mp4", bytes(150 * MIB))
        file.writestr("2.mp4", b"small")


def read_archive() -> None:
    hub.re.fullmatch = lambda *_: True  # that it lies on the Hub is reported by its name
    files = hub._HubFileResolver(Path(), allow_outside=False)
    place = f"zip://%s::{Path('clips.zip').absolute()}"
    assert files.at(place % "2.mp4", "row 1").content == b"small"
    files.at(place % "1.mp4", "row 1")


def hub_folder() -> None:
    Path("owner/name").mkdir(parents=True)
    datasets.Dataset(pyarrow.table({"caption": ["a dog"], **one_value()})).to_parquet("owner/name/train-0.parquet")


def read_hub() -> None:
    list(hub.hub_rows("owner/name", "train", Columns({})))


CASES = {
    "one value": (lambda: parquet_file(one_value()), read_parquet),
    "one of a dictionary": (lambda: parquet_file(one_of_a_dictionary()), read_parquet),
    "rows that fit": (rows_that_fit, lambda: [row.video.content[0] for row in read_parquet()]),
    "archive": (archive, read_archive),
    "hub": (hub_folder, read_hub),
}


def prepare(case: str) -> None:
    """Write the files of a case to the current folder."""
    CASES[case][0]()


if __name__ == "__main__":
    _, read = CASES[sys.argv[1]]
    bombs.MOST, before = 100 * MIB, resource.getrlimit(resource.RLIMIT_DATA)
    try:
        said = read()
    except ValueError as error:
        said = error
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    sys.stdout.write(str(said))
