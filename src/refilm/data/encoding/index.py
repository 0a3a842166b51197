"""The index of a cache: which rows of which shards make up each clip, in the order of the data set.

`index.json` tells what the cache holds and vouches for `clips-<digest>.safetensors`, whose columns have a row a clip
and are read where they lie, so that opening a cache of millions of clips takes no time. Both appear whole, the
`index.json` last.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from refilm.data.encoding.keys import EncoderIdentity, digest
from refilm.data.encoding.settings import PACE, EncodeSettings
from refilm.data.encoding.shards import Shard
from refilm.files import write_bytes

INDEX = "index.json"
FORMAT = 1
Bucket = tuple[int, int, int]
"""Latent frames, height and width."""


@dataclass(frozen=True)
class Entry:
    """A clip of the data set, and the keys of its encodings."""

    video: str
    """Its path, or what a drawn clip is called."""
    captions: tuple[str, ...]
    subject: str | None
    source: str
    """What the video is, whatever it is called: tells the clip when captions, references or encoders change."""
    latents: str
    text: tuple[str, ...]
    references: tuple[str, ...]

    @property
    def key(self) -> str:
        """Tells what is encoded of this clip from all else."""
        return digest(self.latents, self.text, self.references)

    @property
    def group(self) -> int:
        """The same number for clips that belong to one side of a split; evenly spread."""
        return _number(self.source if self.subject is None else f"subject {self.subject}")

    @property
    def parts(self) -> tuple[str, ...]:
        """The keys of all its encodings."""
        return (self.latents, *self.text, *self.references)


@dataclass(frozen=True)
class Index:
    """What `index.json` says."""

    format: int
    clips: int
    identity: str
    """Tells what the cache holds from all else."""
    settings: dict[str, object]
    encoders: dict[str, str]
    buckets: tuple[Bucket, ...]
    shards: tuple[str, ...]
    columns: str
    """The file of the columns."""
    sha256: str
    """Of that file."""


def missing(entries: Sequence[Entry], shards: Iterable[Shard]) -> set[str]:
    """The keys that no shard holds."""
    return {key for entry in entries for key in entry.parts} - {key for shard in shards for key in shard.keys}


def write_index(
    folder: Path,
    entries: Sequence[Entry],
    shards: Iterable[Shard],
    *,
    settings: EncodeSettings,
    encoders: EncoderIdentity,
) -> Index:
    """Write the index of clips whose encodings are all there. It is left alone where nothing would change."""
    wanted = {key: None for entry in entries for key in entry.parts}
    where = {key: (shard, row) for shard in shards for row, key in enumerate(shard.keys) if key in wanted}
    names = sorted({shard.name for shard, _ in where.values()})
    shapes = [bucket_of(where[entry.latents][0]) for entry in entries]
    buckets = tuple(sorted(set(shapes)))
    number = {name: position for position, name in enumerate(names)}
    columns = {
        "records": _column((number[where[key][0].name], where[key][1]) for key in wanted),
        "bucket": _column(buckets.index(shape) for shape in shapes),
        **_columns(entries, list(wanted)),
    }
    content = save(columns)
    sha256 = hashlib.sha256(content).hexdigest()
    index = Index(
        format=FORMAT,
        clips=len(entries),
        identity=identity_of(entries),
        settings=settings.model_dump(mode="json", exclude=set(PACE)),
        encoders=asdict(encoders),
        buckets=buckets,
        shards=tuple(names),
        columns=f"clips-{sha256[:16]}.safetensors",
        sha256=sha256,
    )
    text = (json.dumps(asdict(index), indent=2) + "\n").encode()
    if not (_same(folder / index.columns, content) and _same(folder / INDEX, text)):
        write_bytes(folder / index.columns, content)
        write_bytes(folder / INDEX, text)
    for old in folder.glob("clips-*.safetensors"):
        if old.name != index.columns:
            old.unlink()
    return index


def _columns(entries: Sequence[Entry], keys: Sequence[str]) -> dict[str, Tensor]:
    """What does not depend on where encodings lie; they are told by their number among all keys."""
    record = {key: position for position, key in enumerate(keys)}
    return {
        "record_keys": torch.from_numpy(np.array([list(bytes.fromhex(key)) for key in keys], np.uint8)),
        "latents": _column(record[entry.latents] for entry in entries),
        "group": _column(entry.group for entry in entries),
        "source": _column(_number(entry.source) for entry in entries),
        **_ragged("text", [[record[key] for key in entry.text] for entry in entries]),
        **_ragged("references", [[record[key] for key in entry.references] for entry in entries]),
        **_ragged("lines", [json.dumps(asdict(entry)).encode() for entry in entries], torch.uint8),
    }


def identity_of(entries: Iterable[Entry]) -> str:
    """Tells these clips, in this order, from any others."""
    return digest(*(entry.key for entry in entries))


def bucket_of(shard: Shard) -> Bucket:
    """The size of its latents."""
    frames, _, height, width = shard.shapes["mean"]
    return frames, height, width


def read_index(folder: Path) -> Index:
    """What a cache holds.

    Raises:
        ValueError: the folder is no cache, is one that was never finished, or its index is damaged.
    """
    path = folder / INDEX
    if not path.is_file():
        raise ValueError(f"{folder}: no finished cache of encoded clips (no {INDEX} in it); run refilm data encode")
    try:
        said = json.loads(path.read_bytes())
        said["buckets"] = tuple(tuple(bucket) for bucket in said["buckets"])
        index = Index(**{**said, "shards": tuple(said["shards"])})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: damaged, or of another version; run refilm data encode again") from error
    if index.format != FORMAT:
        raise ValueError(f"{path}: is of format {index.format}, this version reads {FORMAT}; encode again")
    return index


def read_columns(folder: Path, index: Index) -> dict[str, Tensor]:
    """The columns, left on the disk until they are looked at.

    Raises:
        ValueError: they are missing or damaged.
    """
    path = folder / index.columns
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path}: missing or damaged ({error}); run refilm data encode again") from error


def entry_from(line: bytes) -> Entry:
    """An entry from its line."""
    said = json.loads(line)
    return Entry(**{**said, **{name: tuple(said[name]) for name in ("captions", "text", "references")}})


def column_of(columns: dict[str, np.ndarray], name: str, place: int) -> np.ndarray:
    """A clip's part of a column whose rows have unequal lengths."""
    first, last = columns[f"{name}_ends"][place : place + 2]
    return columns[name][first:last]


def _number(text: str) -> int:
    return int(digest(text)[:15], 16)


def _column(values: Iterable[object]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.int64)


def _ragged(name: str, rows: Sequence[Sequence[int]], dtype: torch.dtype = torch.int64) -> dict[str, Tensor]:
    """Rows of unequal lengths one after another, and where each begins and the last ends."""
    ends = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    flat = np.fromiter(chain.from_iterable(rows), np.int64 if dtype == torch.int64 else np.uint8, int(ends[-1]))
    return {name: torch.from_numpy(flat), f"{name}_ends": ends}


def _same(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content
