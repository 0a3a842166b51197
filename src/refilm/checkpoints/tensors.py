"""Tensors in files: found by key, compared with what is wanted, and read once.

Knows safetensors and, through `pickles`, the research code's files; nothing of models.
"""

import ctypes
import math
import mmap
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from refilm.checkpoints.pickles import SUFFIXES, pickled_tensors
from refilm.files import read_json

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def weight_files(folder: Path, name: str, pickled: str | None = None) -> list[Path]:
    """The files of a model's weights: one, or those that an index tells; safetensors where there are any.

    Args:
        folder: where they are.
        name: what they are called, without suffix.
        pickled: what they are called as pickles; none: as `name`.

    Raises:
        ValueError: the index is damaged; names it. Files that are missing are left to the opening.
    """
    for stem in (f"{name}.safetensors", f"{pickled or name}.bin"):
        single, index = folder / stem, folder / f"{stem}.index.json"
        if single.is_file():
            return [single]
        if index.is_file():
            names = read_json(index).get("weight_map")
            if not isinstance(names, dict) or not names or not all(_is_beside(file) for file in names.values()):
                raise ValueError(f"{index}: weight_map: must tell each tensor's file (received {type(names).__name__})")
            return [folder / file for file in sorted(set(names.values()))]
    return [folder / f"{name}.safetensors"]


def _is_beside(file: Any) -> bool:
    """Whether it names a file in the same folder: a forged index shall not lead elsewhere."""
    return isinstance(file, str) and file not in ("", "..") and Path(file).name == file


class Piece(NamedTuple):
    """Rows of a tensor in a file: `part` of `parts` equal ones."""

    key: str
    part: int = 0
    parts: int = 1


Layout = Mapping[str, Sequence[Piece]]
"""A module's weights by name, and the pieces of a file's tensors that each is made of, from its first row down."""


class TensorFiles:
    """Tensors by key, in one or several files: safetensors, or the research code's pickles (see `pickles`).

    They are mapped: none is read before its numbers are needed, so that memory holds a model once.
    """

    def __init__(self, paths: Sequence[Path]):
        """Open the files.

        Raises:
            ValueError: one is missing, cut off, or holds something else than weights; names it.
        """
        self.name = "" if not paths else str(paths[0] if len(paths) == 1 else paths[0].parent)
        self._where: dict[str, tuple[Path, Tensor]] = {}
        for path in paths:
            tensors = pickled_tensors(path) if path.suffix in SUFFIXES else _mapped(path)
            self._where |= {key: (path, tensor) for key, tensor in tensors.items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    def __contains__(self, key: str) -> bool:
        return key in self._where

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of one.

        Raises:
            ValueError: there is none; names the file and the key.
        """
        return tuple(self.tensor(key).shape)

    def tensor(self, key: str) -> Tensor:
        """One, mapped from the file.

        Raises:
            ValueError: there is none; names the file and the key.
        """
        if key not in self._where:
            raise ValueError(f"{self.name}: missing key {key}")
        return self._where[key][1]

    def drop(self, *keys: str) -> None:
        """Act as if there were no such keys."""
        for key in keys:
            self._where.pop(key, None)

    def only(self, keys: Collection[str]) -> "TensorFiles":
        """The same files, as if they held these keys alone."""
        part = TensorFiles([])
        part.name, part._where = self.name, {key: self._where[key] for key in keys}
        return part

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Compare keys, shapes and dtypes with those that are wanted, before anything is read.

        Raises:
            ValueError: a missing key, a surplus one, another shape, or no floats; names the file and the key.
        """
        for what, keys in (("missing", shapes.keys() - self._where), ("surplus", self._where.keys() - shapes.keys())):
            if keys:
                more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
                raise ValueError(f"{self.name}: {what} key {min(keys)}{more}")
        for key, wanted in shapes.items():
            path, tensor = self._where[key]
            if tuple(tensor.shape) != tuple(wanted):
                raise ValueError(f"{path}: {key} has shape {tuple(tensor.shape)}, not {tuple(wanted)}")
            if tensor.dtype not in DTYPES.values() or tensor.layout != torch.strided:
                raise ValueError(f"{path}: {key} is {_name(tensor)}, not {', '.join(DTYPES)}")

    def read(self, pieces: Sequence[Piece], *, dtype: torch.dtype | None, device: torch.device | str) -> Tensor:
        """Put pieces together, one below the other. What can stay as it is in the file stays mapped.

        Raises:
            ValueError: NaN or infinity among the values; names the file and the key.
        """
        stored = [self._finite(piece) for piece in pieces]
        rows = sum(len(piece) for piece in stored)
        target = torch.empty(0, dtype=dtype or stored[0].dtype, device=device)
        if len(stored) == 1 and stored[0].dtype == target.dtype and stored[0].device == target.device:
            return stored[0]
        target = target.new_empty(rows, *stored[0].shape[1:])
        for part, into in zip(stored, target.split([len(part) for part in stored]), strict=True):
            into.copy_(part)
            _give_back(part)
        return target

    def _finite(self, piece: Piece) -> Tensor:
        path, tensor = self._where[piece.key]
        tensor = tensor.chunk(piece.parts)[piece.part] if piece.parts > 1 else tensor
        if not is_finite(tensor):
            raise ValueError(f"{path}: {piece.key} holds NaN or infinity")
        return tensor


def fill(
    module: nn.Module,
    files: TensorFiles,
    layout: Layout,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    exact: Mapping[str, torch.dtype] | None = None,
) -> None:
    """Give a module that was built on `meta` its weights, one by one: memory holds them once.

    Args:
        module: all its weights are in `layout`.
        files: hold the tensors that `layout` names and no others.
        layout: what each weight is made of.
        dtype: of the weights in memory; none: as they are stored.
        device: where to.
        exact: weights by name that get another dtype.

    Raises:
        ValueError: a key, shape or dtype is not what the module needs, or a value is no number; names the file and
            the key.
    """
    shapes = {name: tuple(weight.shape) for name, weight in module.state_dict().items()}
    files.check(
        {p.key: (shapes[name][0] // len(of) * p.parts, *shapes[name][1:]) for name, of in layout.items() for p in of}
    )
    read: dict[tuple[Piece, ...], Tensor] = {}  # tied weights are made of the same pieces
    for name, of in layout.items():
        if tuple(of) not in read:
            read[tuple(of)] = files.read(of, dtype=(exact or {}).get(name, dtype), device=device)
    module.load_state_dict({name: read[tuple(of)] for name, of in layout.items()}, assign=True)


def is_finite(tensor: Tensor) -> bool:
    """Whether all values are numbers. Reads them once and needs no further memory."""
    return tensor.numel() == 0 or all(math.isfinite(end.item()) for end in torch.aminmax(tensor))


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype if tensor.layout == torch.strided else tensor.layout).removeprefix("torch.")


def _mapped(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        file = safe_open(path, framework="pt")
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, OSError, RuntimeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: cut off or not a safetensors file: {error}") from error


def _give_back(mapped: Tensor) -> None:
    """Let the system forget pages of a file that have been read and are no longer needed; they count as our memory."""
    if os.name != "posix" or mapped.device.type != "cpu" or not mapped.is_contiguous():
        return
    start = -(-mapped.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    stop = (mapped.data_ptr() + mapped.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE  # whole pages, of this tensor alone
    if stop > start:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), mmap.MADV_DONTNEED)
