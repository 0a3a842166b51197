"""Read single rows of shards and verify their checksums.

Rows are read, not memory-mapped: a file that is truncated while in use raises an error instead of crashing the
process.
"""

import json
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refilm.data.encoding.shards import Shard, read_sidecar
from refilm.errors import UserError
from refilm.files import describe, sha256_of

DTYPES = {"F16": torch.float16, "F32": torch.float32}
AGAIN = "run refilm data verify, then refilm data encode again"


@dataclass(frozen=True)
class TensorLayout:
    """Position and format of a tensor's rows in the file."""

    offset: int
    end: int
    """End of the data, in bytes from the start of the file, like `offset`."""
    dtype: torch.dtype
    shape: tuple[int, ...]
    """Of one row."""

    @property
    def bytes(self) -> int:
        """Of one row."""
        return prod(self.shape) * self.dtype.itemsize


class ShardReader:
    """The rows of a shard.

    A shard of version 0.1 has no row checksums, so the whole file is read once to verify its sha256.

    Raises:
        UserError: the file or its sidecar is missing or damaged. The error names it and how to fix it.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            shard = read_sidecar(path)
            if shard is None:
                raise self._damaged("its sidecar is missing or damaged")
            if (size := path.stat().st_size) != shard.size:
                raise self._damaged(f"has {size} bytes instead of {shard.size}")
            if shard.rows is None and sha256_of(path) != shard.sha256:
                raise self._damaged("the content differs from what was written (sha256)")
            self.layouts = self._layouts(shard)
        except OSError as error:
            raise UserError(describe(error)) from error
        self.count = len(shard.keys)
        self.checksums = {name: np.array(rows, np.uint32) for name, rows in (shard.rows or {}).items()}  # (n,)

    def read(self, name: str, first: int, count: int = 1) -> Tensor:
        """Read rows of a tensor, (count, ...), into new memory.

        Raises:
            UserError: the rows differ from what was written, or do not exist.
        """
        if name not in self.layouts:
            raise self._damaged(f"has no {name}")
        if not 0 <= first <= first + count <= self.count:
            raise self._damaged(f"has {self.count} rows, but row {first + count - 1} was requested")
        layout = self.layouts[name]
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(layout.offset + first * layout.bytes)
                content = bytearray(count * layout.bytes)
                there = file.readinto(content)
        except OSError as error:
            raise UserError(describe(error)) from error
        if there != len(content):
            raise self._damaged("is truncated")
        if name in self.checksums:
            rows = memoryview(content)
            for row in range(count):
                found = zlib.crc32(rows[row * layout.bytes : (row + 1) * layout.bytes])
                if found != self.checksums[name][first + row]:
                    raise self._damaged(f"row {first + row} of {name} differs from what was written (checksum)")
        return torch.frombuffer(content, dtype=layout.dtype).view(count, *layout.shape)

    def _layouts(self, shard: Shard) -> dict[str, TensorLayout]:
        """The tensors in the file's header, which must match the sidecar."""
        with self.path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = file.read(min(length, shard.size))
        try:
            tensors = {name: part for name, part in json.loads(header).items() if name != "__metadata__"}
            layouts = {name: _layout(part, 8 + length) for name, part in tensors.items()}
            counts = {part["shape"][0] for part in tensors.values()}
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            raise self._damaged("its header is damaged") from error
        if counts != {len(shard.keys)} or {name: layout.shape for name, layout in layouts.items()} != shard.shapes:
            raise self._damaged("the shapes of its tensors do not match its sidecar")
        if any(layout.end - layout.offset != len(shard.keys) * layout.bytes for layout in layouts.values()):
            raise self._damaged("its header is damaged")
        return layouts

    def _damaged(self, what: str) -> UserError:
        return UserError(f"{self.path}: {what}; {AGAIN}")


def _layout(part: dict[str, Any], data: int) -> TensorLayout:
    first, end = part["data_offsets"]
    return TensorLayout(data + first, data + end, DTYPES[part["dtype"]], tuple(part["shape"][1:]))
