"""Verifying a cache: every shard against its sidecar, and the index against the shards.

What is damaged is set aside under another name: it counts as not encoded, and encoding again makes it anew.
"""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from refilm.data.encoding.index import INDEX, Index, column_of, entry_from, identity_of, read_columns, read_index
from refilm.data.encoding.shards import read_sidecar, set_aside, shard_name, shard_paths
from refilm.files import sha256_of


@dataclass(frozen=True)
class Verdict:
    """What was found of a file of the cache."""

    name: str
    fault: str | None
    """What is wrong with it; None: it is sound."""


def verify(folder: Path) -> Iterator[Verdict]:
    """Read everything in a cache; yields a verdict for each shard and then for the index.

    Raises:
        ValueError: the folder is no finished cache, or its index cannot be read.
    """
    index = read_index(folder)
    paths = shard_paths(folder)
    for path in paths:
        fault = _fault_of_shard(path)
        if fault is not None:
            _set_aside(path)
        yield Verdict(path.name, fault)
    for name in sorted(set(index.shards) - {path.name for path in paths}):
        yield Verdict(name, "is missing")
    fault = _fault_of_index(folder, index)
    if fault is not None:
        _set_aside(folder / index.columns)
    yield Verdict(INDEX, fault)


def _set_aside(path: Path) -> None:
    with suppress(OSError):  # a cache that cannot be written to: the verdict stands all the same
        set_aside(path)


def _fault_of_shard(path: Path) -> str | None:
    shard = read_sidecar(path)
    if shard is None:
        return "its sidecar is missing or damaged"
    if path.name != shard_name(shard.kind, shard.keys):
        return "its sidecar lists other encodings than those it is named for"
    try:
        if sha256_of(path) != shard.sha256:
            return "its content is not what was written (sha256)"
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (OSError, SafetensorError) as error:
        return f"cannot be read ({error})"
    if {name: (len(shard.keys), *shape) for name, shape in shard.shapes.items()} != {
        name: tuple(tensor.shape) for name, tensor in tensors.items()
    }:
        return "its tensors have other shapes than its sidecar says"
    odd = sorted(name for name, tensor in tensors.items() if not tensor.isfinite().all())
    return f"values of {', '.join(odd)} are not finite" if odd else None


def _fault_of_index(folder: Path, index: Index) -> str | None:
    path = folder / index.columns
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() != index.sha256:
            return f"the content of {path.name} is not what was written (sha256)"
        columns = {name: column.numpy() for name, column in read_columns(folder, index).items()}
    except (OSError, ValueError) as error:
        return f"{path.name} cannot be read ({error})"
    lines = (column_of(columns, "lines", place).tobytes() for place in range(index.clips))
    if identity_of(map(entry_from, lines)) != index.identity:
        return "it tells of other clips than its columns"
    for number, name in enumerate(index.shards):
        shard = read_sidecar(folder / name)
        if shard is None or not (folder / name).is_file():
            continue  # told already
        own = np.flatnonzero(columns["records"][:, 0] == number)
        rows = columns["records"][own, 1]
        keys = (columns["record_keys"][record].tobytes().hex() for record in own)
        if any(row >= len(shard.keys) or shard.keys[row] != key for row, key in zip(rows, keys, strict=True)):
            return f"it finds other encodings in {name} than are there"
    return None
