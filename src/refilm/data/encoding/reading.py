"""Read encoded clips for training: one by one, in any order, with their checksums verified.

Opening a set reads only its index, and pickling one stores only its path. Does not depend on batches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from refilm.data.encoding.index import Bucket, Entry, Index, column_of, entry_from, read_columns, read_index
from refilm.data.encoding.keys import digest
from refilm.data.encoding.rows import AGAIN, ShardReader
from refilm.errors import UserError

FEW = 10  # with fewer clips, none are held out


@dataclass(frozen=True)
class EncodedClip:
    """An encoded clip with alternative captions and references, in float16, or float32 where that overflows."""

    mean: Tensor
    """(T, C, h, w): mean of the latents, scaled to about unit variance."""
    logvar: Tensor
    """(T, C, h, w): log variance of the latents, with the same scaling."""
    text: Tensor
    """(V, L, D): embeddings of V captions."""
    references: Tensor
    """(R, 1 + N, M, E): tokens of R references, each unchanged and in N augmented versions."""
    mask: Tensor | None
    """(T, h, w), 0..1: fraction of each latent pixel that the subject covers. None: there is no mask."""

    def latents(self, noise: Tensor) -> Tensor:
        """Sample latents from the posterior, float32; `noise` is standard normal noise of their shape."""
        return self.mean.float() + (0.5 * self.logvar.float()).exp() * noise


class Subset:
    """An ordered subset of an encoded set."""

    def __init__(self, cache: "_Cache", indices: np.ndarray | None):
        self._cache, self._indices = cache, indices

    def __len__(self) -> int:
        return self._cache.index.clips if self._indices is None else len(self._indices)

    def __getitem__(self, index: int) -> EncodedClip:
        return self._cache.clip(self._place(index))

    def __iter__(self) -> Iterator[EncodedClip]:
        return (self[index] for index in range(len(self)))

    @property
    def entries(self) -> Sequence[Entry]:
        """The index entry of each clip, read on demand."""
        return _Entries(self)

    @cached_property
    def buckets(self) -> dict[Bucket, np.ndarray]:
        """The latent sizes (T, h, w), each with the ordered indices of its clips, (n,)."""
        column = self._column("bucket")
        shapes = enumerate(self._cache.index.buckets)
        found = ((shape, np.flatnonzero(column == number)) for number, shape in shapes)
        return {shape: indices for shape, indices in found if len(indices)}

    @cached_property
    def firsts(self) -> np.ndarray:
        """For each clip, the index of the first one of the same part of the same video, which may show another subject
        of it: (n,)."""
        _, first, which = np.unique(self._column("source"), return_index=True, return_inverse=True)
        return first[which]

    @cached_property
    def identity(self) -> str:
        """Identifies the clips and their order."""
        whole = self._cache.index.identity
        return whole if self._indices is None else digest(whole, self._indices.tolist())

    def split(self, fraction: float = 0.1, *, by: Literal["subject", "video"] = "subject") -> "tuple[Subset, Subset]":
        """Split into training clips and at least a fraction `fraction` of held-out clips, independent of their order.

        Clips of one subject are on the same side; clips without a subject are grouped by their video. If all clips have
        the same subject, subjects are ignored. With fewer than ten clips, both sides contain all of them.

        Args:
            by: `video` ignores subjects, so that all subjects of a video are on the same side.

        Raises:
            UserError: `fraction` is not above 0 and below 1.
        """
        if not 0 < fraction < 1:
            raise UserError(f"the held-out fraction must be above 0 and below 1, received {fraction}")
        if len(self) < FEW:
            return self, self
        held_out = _held_out(self._column("group"), fraction) if by == "subject" else None
        if held_out is None:
            held_out = _held_out(self._column("source"), fraction)
        if held_out is None:  # all clips are from the same video
            return self, self
        places = np.arange(self._cache.index.clips) if self._indices is None else self._indices
        return Subset(self._cache, places[~held_out]), Subset(self._cache, places[held_out])

    def chosen(self, indices: Sequence[int]) -> "Subset":
        """The clips with these indices, in this order."""
        return Subset(self._cache, np.array([self._place(index) for index in indices], dtype=np.int64))

    def not_finite(self, index: int) -> str | None:
        """Which part of a clip contains infinities or NaN, where it is stored, and how to fix it. None: no part."""
        for name, tensor in vars(self[index]).items():
            if tensor is not None and not tensor.isfinite().all():
                kind = name if name in ("text", "references") else "latents"
                shard = self._cache.stored(kind, self._place(index))
                part = f"{name} of {self.entries[index].video}, in {shard}"
                return f"{part}; delete that file and run refilm data encode again, or exclude the clip"
        return None

    def _place(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        index = index % len(self)
        return index if self._indices is None else int(self._indices[index])

    def _column(self, name: str) -> np.ndarray:
        column = self._cache.columns[name]
        return column if self._indices is None else column[self._indices]


class EncodedSet(Subset):
    """All clips of a cache that `refilm data encode` created.

    Raises:
        UserError: the folder is not a complete cache, or shards are missing.
    """

    def __init__(self, folder: Path | str):
        super().__init__(_Cache(Path(folder)), None)

    @property
    def index(self) -> Index:
        """The settings and encoders with which the clips were encoded."""
        return self._cache.index


def _held_out(groups: np.ndarray, fraction: float) -> np.ndarray | None:
    """The clips to hold out: whole groups in the order of their numbers. None: there is only one group."""
    numbers, which, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if len(numbers) == 1:
        return None
    enough = int(np.searchsorted(counts.cumsum(), fraction * len(groups))) + 1
    return which < min(enough, len(numbers) - 1)


class _Entries(Sequence[Entry]):
    def __init__(self, clips: Subset):
        self._clips = clips

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> Entry:  # pyright: ignore[reportIncompatibleMethodOverride] - no slices
        return self._clips._cache.entry(self._clips._place(index))


class _Cache:
    """The index and the open shards of a cache."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.index = read_index(folder)
        gone = [name for name in self.index.shards if not (folder / name).is_file()]
        if gone:
            raise UserError(
                f"{folder}: {len(gone)} shards are missing, the first is {gone[0]}; run refilm data encode again"
            )
        self.columns = {name: column.numpy() for name, column in read_columns(folder, self.index).items()}
        self._shards: dict[int, ShardReader] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _Cache, (self.folder,)

    def clip(self, place: int) -> EncodedClip:
        ((number, row),) = self._rows(self.columns["latents"][place : place + 1])
        shard = self._shard(number)
        bucket = self.index.buckets[self.columns["bucket"][place]]
        mean = shard.read("mean", row)[0]
        if (mean.shape[0], *mean.shape[2:]) != bucket:
            raise UserError(f"{shard.path}: the size of its latents does not match the index; {AGAIN}")
        return EncodedClip(
            mean=mean,
            logvar=shard.read("logvar", row)[0],
            text=self._stacked("text", place),
            references=self._stacked("references", place),
            mask=shard.read("mask", row)[0] if "mask" in shard.layouts else None,
        )

    def stored(self, kind: str, place: int) -> Path:
        """The shard that contains a clip's latents, or its first caption (`text`) or reference."""
        records = self.columns[kind][place : place + 1] if kind == "latents" else column_of(self.columns, kind, place)
        return self.folder / self.index.shards[self._rows(records)[0][0]]

    def entry(self, place: int) -> Entry:
        return entry_from(column_of(self.columns, "lines", place).tobytes())

    def _rows(self, records: np.ndarray) -> list[list[int]]:
        return self.columns["records"][records].tolist()

    def _stacked(self, name: str, place: int) -> Tensor:
        """A clip's rows, stacked; read at once if they are consecutive, which is the usual case."""
        rows = self._rows(column_of(self.columns, name, place))
        (number, row), count = rows[0], len(rows)
        if rows == [[number, row + step] for step in range(count)]:
            return self._shard(number).read(name, row, count)
        return torch.cat([self._shard(number).read(name, row) for number, row in rows])

    def _shard(self, number: int) -> ShardReader:
        if number not in self._shards:
            self._shards[number] = ShardReader(self.folder / self.index.shards[number])
        return self._shards[number]
