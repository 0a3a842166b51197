"""The index of a cache: the shard rows of each clip, in the order of the data set.

`index.json` describes the cache, contains a checksum of itself and the sha256 of `clips-<digest>.safetensors`, whose
columns have one row per clip. Both are written atomically, `index.json` last.
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
from refilm.data.encoding.shards import Bucket, Count, Sha256, Shard, bucket_of
from refilm.data.settings import EncodeSettings
from refilm.errors import UserError
from refilm.files import describe, read_json, write_bytes
from refilm.settings import Settings, explain

PACE = ("batch", "shard", "workers", "patience")  # settings that do not affect the encodings
INDEX = "index.json"
FORMAT = 1
AGAIN = "run refilm data encode again"


@dataclass(frozen=True)
class Entry:
    """A clip of the data set and the keys of its encodings."""

    video: str
    """Path of the video, or the name of a generated clip."""
    captions: tuple[str, ...]
    subject: str | None
    source: str
    """Identity of the video's content; it stays the same when captions, references or encoders change."""
    latents: str
    text: tuple[str, ...]
    references: tuple[str, ...]

    @property
    def key(self) -> str:
        """Identifies all encodings of this clip."""
        return digest(self.latents, self.text, self.references)

    @property
    def group(self) -> int:
        """A hash that is equal for clips that must be on the same side of a split."""
        return _number(self.source if self.subject is None else f"subject {self.subject}")

    @property
    def parts(self) -> tuple[str, ...]:
        """The keys of all its encodings."""
        return (self.latents, *self.text, *self.references)


class Index(Settings):
    """The content of `index.json`."""

    format: Annotated[int, Field(ge=1)]
    clips: Count
    identity: str
    """Identifies the content of the cache."""
    settings: dict[str, Any]
    encoders: dict[str, str]
    buckets: tuple[Bucket, ...]
    shards: tuple[Annotated[str, Field(pattern=r"^(latents|text|references)-[0-9a-f]{16}\.safetensors$")], ...]
    columns: Annotated[str, Field(pattern=r"^clips-[0-9a-f]{16}\.safetensors$")]
    """The file of the columns."""
    sha256: Sha256
    """The sha256 of the columns file."""
    seal: str | None = None
    """Checksum of all fields above; None in caches of version 0.1."""

    def with_checksum(self) -> "Index":
        """The index with its checksum."""
        return self.model_copy(update={"seal": digest(self.model_dump(mode="json", exclude={"seal"}))})


def missing(entries: Sequence[Entry], shards: Iterable[Shard]) -> set[str]:
    """The keys that are in no shard."""
    return {key for entry in entries for key in entry.parts} - {key for shard in shards for key in shard.keys}


def write_index(
    folder: Path,
    entries: Sequence[Entry],
    shards: Iterable[Shard],
    *,
    settings: EncodeSettings,
    encoders: EncoderIdentity,
) -> Index:
    """Write the index of clips whose encodings are all present. An identical index is not rewritten."""
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
    ).with_checksum()
    text = (index.model_dump_json(indent=2) + "\n").encode()
    if not (_same(folder / index.columns, content) and _same(folder / INDEX, text)):
        write_bytes(folder / index.columns, content)
        write_bytes(folder / INDEX, text)
    for old in folder.glob("clips-*.safetensors"):
        if old.name != index.columns:
            old.unlink()
    return index


def _columns(entries: Sequence[Entry], keys: Sequence[str]) -> dict[str, Tensor]:
    """The columns that do not depend on shards; encodings are referenced by their position in `keys`."""
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
    """Identifies these clips in this order."""
    return digest(*(entry.key for entry in entries))


def read_index(folder: Path) -> Index:
    """Read the index of a cache.

    Raises:
        UserError: the folder is not a cache, the cache is incomplete, or its index is damaged.
    """
    path = folder / INDEX
    if not path.is_file():
        raise UserError(f"{folder}: not a complete cache of encoded clips ({INDEX} is missing); run refilm data encode")
    try:
        content = read_json(path)
    except UserError as error:
        raise UserError(f"{error}; {AGAIN}") from error
    if content.get("format") != FORMAT:
        received = f"{content.get('format')!r:.40}"
        raise UserError(f"{path}: has format {received}, but this version reads format {FORMAT}; encode again")
    try:
        index = Index.model_validate_json(json.dumps(content))  # JSON mode accepts lists for tuples
    except ValidationError as error:
        raise UserError(f"{path}: damaged ({explain(error)[:200]}); {AGAIN}") from error
    if index.seal is not None and index != index.with_checksum():
        raise UserError(f"{path}: damaged or edited (its checksum does not match); {AGAIN}")
    return index


def read_columns(folder: Path, index: Index) -> dict[str, Tensor]:
    """Read the columns file.

    Raises:
        UserError: the file is missing, or differs from what was written.
    """
    path = folder / index.columns
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{describe(error)}; {AGAIN}") from error
    if hashlib.sha256(content).hexdigest() != index.sha256:
        raise UserError(f"{path}: the content differs from what was written (sha256); {AGAIN}")
    try:
        return load(content)
    except SafetensorError as error:
        raise UserError(f"{path}: damaged ({error}); {AGAIN}") from error


def entry_from(line: bytes) -> Entry:
    """Parse an entry from its JSON line."""
    fields = json.loads(line)
    return Entry(**{**fields, **{name: tuple(fields[name]) for name in ("captions", "text", "references")}})


def column_of(columns: dict[str, np.ndarray], name: str, place: int) -> np.ndarray:
    """A clip's values in a column whose rows have different lengths."""
    first, last = columns[f"{name}_ends"][place : place + 2]
    return columns[name][first:last]


def _number(text: str) -> int:
    return int(digest(text)[:15], 16)


def _column(values: Iterable[object]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.int64)


def _ragged(name: str, rows: Sequence[Sequence[int]], dtype: torch.dtype = torch.int64) -> dict[str, Tensor]:
    """Concatenated rows of different lengths, and the offsets of their boundaries."""
    ends = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    flat = np.fromiter(chain.from_iterable(rows), np.int64 if dtype == torch.int64 else np.uint8, int(ends[-1]))
    return {name: torch.from_numpy(flat), f"{name}_ends": ends}


def _same(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content
