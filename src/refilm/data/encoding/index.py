"""The index of a cache: which rows of which shards make up each clip, in the order of the data set.

`index.json` tells what the cache contains, has a checksum of itself, and vouches for `clips-<digest>.safetensors`,
whose columns have a row a clip. Both appear whole, the `index.json` last.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from refilm.data.encoding.keys import EncoderIdentity, digest
from refilm.data.encoding.settings import PACE, EncodeSettings
from refilm.data.encoding.shards import Bucket, Count, Sha256, Shard, bucket_of
from refilm.files import describe, read_json, write_bytes
from refilm.settings import Settings, explain

INDEX = "index.json"
FORMAT = 1
AGAIN = "run refilm data encode again"


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


class Index(Settings):
    """What `index.json` says."""

    format: Annotated[int, Field(ge=1)]
    clips: Count
    identity: str
    """Tells what the cache contains from all else."""
    settings: dict[str, Any]
    encoders: dict[str, str]
    buckets: tuple[Bucket, ...]
    shards: tuple[Annotated[str, Field(pattern=r"^(latents|text|references)-[0-9a-f]{16}\.safetensors$")], ...]
    columns: Annotated[str, Field(pattern=r"^clips-[0-9a-f]{16}\.safetensors$")]
    """The file of the columns."""
    sha256: Sha256
    """Of that file."""
    seal: str | None = None
    """A digest of all the above; None in caches of version 0.1."""

    def sealed(self) -> "Index":
        """The same with its seal."""
        return self.model_copy(update={"seal": digest(self.model_dump(mode="json", exclude={"seal"}))})


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
    ).sealed()
    text = (index.model_dump_json(indent=2) + "\n").encode()
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


def read_index(folder: Path) -> Index:
    """What a cache holds.

    Raises:
        ValueError: the folder is no cache, is one that was never finished, or its index is damaged.
    """
    path = folder / INDEX
    if not path.is_file():
        raise ValueError(f"{folder}: no finished cache of encoded clips (no {INDEX} in it); run refilm data encode")
    try:
        said = read_json(path)
    except ValueError as error:
        raise ValueError(f"{error}; {AGAIN}") from error
    if said.get("format") != FORMAT:
        raise ValueError(f"{path}: is of format {said.get('format')!r:.40}, this version reads {FORMAT}; encode again")
    try:
        index = Index.model_validate_json(json.dumps(said))  # where JSON's lists may be tuples
    except ValidationError as error:
        raise ValueError(f"{path}: damaged ({explain(error)[:200]}); {AGAIN}") from error
    if index.seal is not None and index != index.sealed():
        raise ValueError(f"{path}: damaged or edited (its seal does not match); {AGAIN}")
    return index


def read_columns(folder: Path, index: Index) -> dict[str, Tensor]:
    """The columns.

    Raises:
        ValueError: they are missing, or not what was written.
    """
    path = folder / index.columns
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{describe(error)}; {AGAIN}") from error
    if hashlib.sha256(content).hexdigest() != index.sha256:
        raise ValueError(f"{path}: its content is not what was written (sha256); {AGAIN}")
    try:
        return load(content)
    except SafetensorError as error:
        raise ValueError(f"{path}: damaged ({error}); {AGAIN}") from error


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
