"""Cache shards: files of encodings of one kind and shape, each with a sidecar that lists them and their checksums.

`latents-1f...safetensors` contains stacked encodings, one per row; `latents-1f...json` contains their keys in the same
order, the sha256 of the file and a checksum of each row. The sidecar is written last, so a shard without one is
incomplete and is ignored.
"""

import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar, get_args

import torch
from pydantic import Field, ValidationError
from safetensors.torch import save
from torch import Tensor

from refilm.data.encoding.keys import digest
from refilm.errors import NotFiniteError
from refilm.files import remove_abandoned, write_bytes
from refilm.settings import Settings

Kind = Literal["latents", "text", "references"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SHARD_BYTES = 256 * 2**20
DAMAGED = ".damaged"
Item = TypeVar("Item")
HALF_MAX = torch.finfo(torch.float16).max

Count = Annotated[int, Field(ge=1, lt=2**40)]
Checksum = Annotated[int, Field(ge=0, lt=2**32)]
Bucket = tuple[Count, Count, Count]
"""Latent frames, height and width."""
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Shard(Settings):
    """The content of a sidecar."""

    name: str
    """File name of the shard in the cache's folder."""
    kind: Kind
    keys: tuple[str, ...]
    """Keys of the rows, in order."""
    shapes: dict[str, tuple[Count, ...]]
    """Shape of one row of each tensor."""
    sha256: Sha256
    size: Count
    """Bytes."""
    rows: dict[str, tuple[Checksum, ...]] | None = None
    """CRC-32 of each row of each tensor; None in shards of version 0.1, which have only the sha256."""


class ShardWriter(Generic[Item]):
    """Collects items whose encodings have one shape, encodes them in batches, and writes full shards.

    A shard contains a whole number of batches, so a resumed run makes the same batches and the same bytes.

    Args:
        encode: maps items to their rows: tensors by name, (n, ...) each.
        batch: batch size.
        rows: maximum number of rows of a shard.
        names: by key, an object whose `str` names the item in messages.
    """

    def __init__(
        self,
        folder: Path,
        kind: Kind,
        encode: Callable[[list[Item]], dict[str, Tensor]],
        *,
        batch: int,
        rows: int,
        names: Mapping[str, object],
    ):
        self.folder, self.run, self.batch, self.rows, self.names = folder, encode, batch, rows, names
        self.kind: Kind = kind
        self.waiting: dict[str, Item] = {}
        self.keys: list[str] = []
        self.parts: list[dict[str, Tensor]] = []

    def add(self, key: str, item: Item) -> int:
        """Add an item; returns the number of rows that were encoded."""
        self.waiting[key] = item
        return self.encode() if len(self.waiting) == self.batch else 0

    def encode(self) -> int:
        """Encode the waiting items; returns their number."""
        if not self.waiting:
            return 0
        made, items = list(self.waiting), list(self.waiting.values())
        encoded = {name: tensor.cpu() for name, tensor in self.run(items).items()}
        self._require_finite(made, encoded)
        self.parts.append({name: compact(tensor) for name, tensor in encoded.items()})
        self.keys += made
        self.waiting.clear()
        row = sum(tensor[0].nbytes for tensor in self.parts[-1].values())
        if len(self.keys) >= max(1, min(self.rows, SHARD_BYTES // row) // self.batch) * self.batch:
            self.close()
        return len(made)

    def close(self) -> None:
        """Write the rows that were encoded since the last shard."""
        if self.keys:
            stacked = {name: torch.cat([part[name] for part in self.parts]) for name in self.parts[0]}
            write_shard(self.folder, self.kind, self.keys, stacked)
        self.keys, self.parts = [], []

    def _require_finite(self, keys: list[str], encoded: Mapping[str, Tensor]) -> None:
        for row, key in enumerate(keys):
            if not all(tensor[row].isfinite().all() for tensor in encoded.values()):
                raise NotFiniteError(
                    f"{self.names[key]}: the {self.kind} encoder produced values that are not finite; encode in "
                    "float32 or bfloat16, or exclude this one"
                )


def compact(tensor: Tensor) -> Tensor:
    """Convert to float16 if the values fit, otherwise to float32."""
    return tensor.half() if tensor.abs().max() <= HALF_MAX else tensor.float()


def write_shard(folder: Path, kind: Kind, keys: Sequence[str], tensors: Mapping[str, Tensor]) -> Shard:
    """Write a shard and then its sidecar. The name is a digest of the keys."""
    name = shard_name(kind, keys)
    tensors = {tensor: value.contiguous() for tensor, value in tensors.items()}
    content = save(tensors)
    shard = Shard(
        name=name,
        kind=kind,
        keys=tuple(keys),
        shapes={tensor: tuple(value.shape[1:]) for tensor, value in tensors.items()},
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        rows={tensor: tuple(map(checksum, value)) for tensor, value in tensors.items()},
    )
    write_bytes(folder / name, content)
    write_bytes(sidecar(folder / name), (shard.model_dump_json(exclude_none=True) + "\n").encode())
    return shard


def checksum(row: Tensor) -> int:
    """The CRC-32 of a row's bytes."""
    return zlib.crc32(row.numpy().tobytes())


def bucket_of(shard: Shard) -> Bucket:
    """The latent size of a shard."""
    frames, _, height, width = shard.shapes["mean"]
    return frames, height, width


def shard_name(kind: Kind, keys: Sequence[str]) -> str:
    """The file name of the shard with these encodings."""
    return f"{kind}-{digest(*keys)[:16]}.safetensors"


def shard_paths(folder: Path) -> list[Path]:
    """All shard files, complete or not."""
    return [path for kind in KINDS for path in sorted(folder.glob(f"{kind}-*.safetensors"))]


def sidecar(shard: Path) -> Path:
    """The path of a shard's sidecar."""
    return shard.with_suffix(".json")


def read_shards(folder: Path) -> list[Shard]:
    """The complete shards of a cache, sorted by name; only the file size is verified."""
    found = ((path, read_sidecar(path)) for path in shard_paths(folder))
    return [shard for path, shard in found if shard is not None and shard.size == path.stat().st_size]


def read_sidecar(path: Path) -> Shard | None:
    """Read the sidecar of a shard. None: it is missing or invalid.

    Raises:
        OSError: the sidecar exists but cannot be read. The error names it.
    """
    try:
        shard = Shard.model_validate_json(sidecar(path).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    if shard.rows is not None and {name: len(rows) for name, rows in shard.rows.items()} != dict.fromkeys(
        shard.shapes, len(shard.keys)
    ):
        return None
    return shard if shard.name == path.name else None


def set_aside(shard: Path) -> None:
    """Rename a damaged shard so that its encodings count as missing."""
    shard.replace(shard.with_name(shard.name + DAMAGED))


def tidy(folder: Path) -> None:
    """Remove renamed damaged shards and incomplete files. No process may be writing shards at the time."""
    remove_abandoned(folder)
    for path in folder.glob(f"*{DAMAGED}"):
        path.unlink()
    for kind in KINDS:
        shards, sidecars = (set(folder.glob(f"{kind}-*{suffix}")) for suffix in (".safetensors", ".json"))
        for path in {shard for shard in shards if sidecar(shard) not in sidecars} | {
            path for path in sidecars if path.with_suffix(".safetensors") not in shards
        }:
            path.unlink()
