"""Verify a cache: every shard against its sidecar, and the index against the shards.

Damaged files are renamed: they count as missing and are encoded again by the next run. Files that cannot be read are
left unchanged, because their content may be intact.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from refilm.data.encoding.index import INDEX, Index, column_of, entry_from, identity_of, read_columns, read_index
from refilm.data.encoding.lock import only_writer
from refilm.data.encoding.shards import Shard, bucket_of, checksum, read_sidecar, set_aside, shard_name, shard_paths
from refilm.errors import UserError
from refilm.files import describe, sha256_of


@dataclass(frozen=True)
class Verification:
    """The result for one file of the cache."""

    name: str
    fault: str | None
    """The problem; None if the file is intact."""


def verify(folder: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[Verification]:
    """Read a whole cache; yields the result for each shard and then for the index.

    Args:
        on_wait: called before waiting for another process that is writing to this cache.

    Raises:
        UserError: the folder is not a complete cache, or its index cannot be read.
    """
    index = read_index(folder)
    with only_writer(folder, on_wait):
        paths = shard_paths(folder)
        for path in paths:
            yield Verification(path.name, _fault_of(path, _damage_of_shard))
        for name in sorted(set(index.shards) - {path.name for path in paths}):
            yield Verification(name, "is missing")
        columns = folder / index.columns
        fault = _fault_of(columns, lambda _: _damage_of_columns(columns, index)) or _fault_of_index(folder, index)
        yield Verification(INDEX, fault)


def _fault_of(path: Path, damage_of: Callable[[Path], str | None]) -> str | None:
    """The fault of a file. A damaged file is renamed; a file that cannot be read is left unchanged."""
    try:
        damage = damage_of(path)
    except OSError as error:
        return f"cannot be read ({describe(error)}); the file was left unchanged"
    if damage is not None:
        with suppress(OSError):  # the cache is read-only; the result is still valid
            set_aside(path)
    return damage


def _damage_of_shard(path: Path) -> str | None:
    shard = read_sidecar(path)
    if shard is None:
        return "its sidecar is missing or damaged"
    if path.name != shard_name(shard.kind, shard.keys):
        return "its name does not match the encodings in its sidecar"
    if sha256_of(path) != shard.sha256:
        return "the content differs from what was written (sha256)"
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        return f"not a valid safetensors file ({error})"
    if {name: (len(shard.keys), *shape) for name, shape in shard.shapes.items()} != {
        name: tuple(tensor.shape) for name, tensor in tensors.items()
    }:
        return "the shapes of its tensors do not match its sidecar"
    if shard.rows is not None and shard.rows != {name: tuple(map(checksum, rows)) for name, rows in tensors.items()}:
        return "its rows do not match the checksums in its sidecar"
    odd = sorted(name for name, tensor in tensors.items() if not tensor.isfinite().all())
    return f"values of {', '.join(odd)} are not finite" if odd else None


def _damage_of_columns(path: Path, index: Index) -> str | None:
    if sha256_of(path) != index.sha256:
        return f"the content of {path.name} differs from what was written (sha256)"
    return None


def _fault_of_index(folder: Path, index: Index) -> str | None:
    """A contradiction between the index and its columns or the shards."""
    try:
        columns = {name: column.numpy() for name, column in read_columns(folder, index).items()}
    except UserError as error:
        return f"{index.columns} cannot be read ({error})"
    lines = (column_of(columns, "lines", place).tobytes() for place in range(index.clips))
    if len(columns["bucket"]) != index.clips or identity_of(map(entry_from, lines)) != index.identity:
        return "its clips do not match its columns"
    records = columns["records"]
    if set(np.unique(records[:, 0])) != set(range(len(index.shards))):
        return "its shards do not match its columns"
    for number, name in enumerate(index.shards):
        shard = read_sidecar(folder / name)
        if shard is None or not (folder / name).is_file():
            continue  # reported already
        own = np.flatnonzero(records[:, 0] == number)
        rows = records[own, 1]
        keys = (columns["record_keys"][record].tobytes().hex() for record in own)
        if any(row >= len(shard.keys) or shard.keys[row] != key for row, key in zip(rows, keys, strict=True)):
            return f"its encodings do not match those in {name}"
        if shard.kind == "latents" and not _sizes_agree(shard, own, columns, index):
            return f"its latent size does not match the latents in {name}"
    return None


def _sizes_agree(shard: Shard, records: np.ndarray, columns: dict[str, np.ndarray], index: Index) -> bool:
    numbers = np.unique(columns["bucket"][np.isin(columns["latents"], records)])
    return all(number < len(index.buckets) and index.buckets[number] == bucket_of(shard) for number in numbers)
