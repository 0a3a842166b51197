"""Shards: files of encodings of one kind and one shape, each with a sidecar that lists and vouches for them.

`latents-1f...safetensors` holds its encodings stacked, row by row; `latents-1f...json` their keys in the same
order and the file's sha256. The sidecar comes last, so a shard without one was never finished and does not count.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar, get_args

import torch
from safetensors.torch import save
from torch import Tensor

from refilm.data.encoding.keys import digest
from refilm.files import remove_abandoned, write_bytes

Kind = Literal["latents", "text", "references"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SHARD_BYTES = 256 * 2**20
DAMAGED = ".damaged"
Item = TypeVar("Item")
HALF_MAX = torch.finfo(torch.float16).max


@dataclass(frozen=True)
class Shard:
    """What a sidecar says."""

    name: str
    """The file, in the cache's folder."""
    kind: Kind
    keys: tuple[str, ...]
    """Of its rows, in order."""
    shapes: dict[str, tuple[int, ...]]
    """Of one row of each tensor."""
    sha256: str
    size: int
    """Bytes."""


class Shelf(Generic[Item]):
    """Takes what is to be encoded into rows of one shape, encodes it batch by batch, and writes shards when full.

    A shard is full after a whole number of batches, so that whoever goes on makes the same batches and the same bytes.

    Args:
        encode: makes of some items their rows: tensors by name, (n, ...) each.
        batch: items encoded at once.
        rows: most rows of a shard.
    """

    def __init__(
        self, folder: Path, kind: Kind, encode: Callable[[list[Item]], dict[str, Tensor]], *, batch: int, rows: int
    ):
        self.folder, self.run, self.batch, self.rows = folder, encode, batch, rows
        self.kind: Kind = kind
        self.waiting: dict[str, Item] = {}
        self.keys: list[str] = []
        self.parts: list[dict[str, Tensor]] = []

    def put(self, key: str, item: Item) -> int:
        """Take an item; how many rows were made now that it is there."""
        self.waiting[key] = item
        return self.encode() if len(self.waiting) == self.batch else 0

    def encode(self) -> int:
        """Make rows of what is waiting; how many."""
        if not self.waiting:
            return 0
        made, items = list(self.waiting), list(self.waiting.values())
        self.parts.append({name: compact(tensor.cpu()) for name, tensor in self.run(items).items()})
        self.keys += made
        self.waiting.clear()
        row = sum(tensor[0].nbytes for tensor in self.parts[-1].values())
        if len(self.keys) >= max(1, min(self.rows, SHARD_BYTES // row) // self.batch) * self.batch:
            self.close()
        return len(made)

    def close(self) -> None:
        """Write the rows that were made since the last shard."""
        if self.keys:
            stacked = {name: torch.cat([part[name] for part in self.parts]) for name in self.parts[0]}
            write_shard(self.folder, self.kind, self.keys, stacked)
        self.keys, self.parts = [], []


def compact(tensor: Tensor) -> Tensor:
    """In half precision, where the values fit.

    Raises:
        FloatingPointError: values that are not finite.
    """
    if not tensor.isfinite().all():
        raise FloatingPointError("the encoder gave values that are not finite")
    return tensor.half() if tensor.abs().max() <= HALF_MAX else tensor.float()


def write_shard(folder: Path, kind: Kind, keys: Sequence[str], tensors: Mapping[str, Tensor]) -> Shard:
    """Write a shard and then its sidecar. The name is made of the keys: the same encodings have the same."""
    name = shard_name(kind, keys)
    content = save({tensor: value.contiguous() for tensor, value in tensors.items()})
    shapes = {tensor: tuple(value.shape[1:]) for tensor, value in tensors.items()}
    shard = Shard(name, kind, tuple(keys), shapes, hashlib.sha256(content).hexdigest(), len(content))
    write_bytes(folder / name, content)
    write_bytes(sidecar(folder / name), (json.dumps(asdict(shard)) + "\n").encode())
    return shard


def shard_name(kind: Kind, keys: Sequence[str]) -> str:
    """What the shard of these encodings is called."""
    return f"{kind}-{digest(*keys)[:16]}.safetensors"


def shard_paths(folder: Path) -> list[Path]:
    """All files that are shards or will be."""
    return [path for kind in KINDS for path in sorted(folder.glob(f"{kind}-*.safetensors"))]


def sidecar(shard: Path) -> Path:
    """What vouches for a shard."""
    return shard.with_suffix(".json")


def read_shards(folder: Path) -> list[Shard]:
    """The finished shards of a cache, by name: those that are whole, as far as their size tells."""
    found = ((path, read_sidecar(path)) for path in shard_paths(folder))
    return [shard for path, shard in found if shard is not None and shard.size == path.stat().st_size]


def read_sidecar(path: Path) -> Shard | None:
    """What the sidecar of a shard says; none if there is none, or none that can be read."""
    try:
        said = json.loads(sidecar(path).read_bytes())
        shapes = {name: tuple(shape) for name, shape in said["shapes"].items()}
        shard = Shard(said["name"], said["kind"], tuple(said["keys"]), shapes, said["sha256"], said["size"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return shard if shard.name == path.name else None


def set_aside(shard: Path) -> None:
    """Take a damaged shard out of the cache; what it held counts as not encoded."""
    shard.replace(shard.with_name(shard.name + DAMAGED))


def tidy(folder: Path) -> None:
    """Remove damaged shards that were set aside, and what was never finished. Nobody may be writing shards."""
    remove_abandoned(folder)
    for path in folder.glob(f"*{DAMAGED}"):
        path.unlink()
    for kind in KINDS:
        shards, sidecars = (set(folder.glob(f"{kind}-*{suffix}")) for suffix in (".safetensors", ".json"))
        for path in {shard for shard in shards if sidecar(shard) not in sidecars} | {
            path for path in sidecars if path.with_suffix(".safetensors") not in shards
        }:
            path.unlink()
