"""Tensors in files: found by key, compared with what is wanted, and read once.

Knows safetensors and, through `pickles`, the research code's files; nothing of models.
"""

import ctypes
import errno
import math
import mmap
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from refilm.weights.files import refuse_pointer
from refilm.weights.pickles import SUFFIXES, pickled_tensors

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DtypeName = Literal["float32", "bfloat16", "float16"]
NAMES: dict[torch.dtype, DtypeName] = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}


class Piece(NamedTuple):
    """Rows of a tensor in a file: `part` of `parts` equal ones."""

    key: str
    part: int = 0
    parts: int = 1


Layout = Mapping[str, Sequence[Piece]]
"""A module's weights by name, and the pieces of a file's tensors that each is made of, from its first row down."""


_UNREAD: ContextVar[bool] = ContextVar("unread", default=False)


@contextmanager
def unread() -> Iterator[None]:
    """Within the context models are loaded to be looked at, not to compute: their weights are as they lie in the files.

    Names, shapes and dtypes are compared as ever; of the numbers none is read.
    """
    before = _UNREAD.set(True)
    try:
        yield
    finally:
        _UNREAD.reset(before)


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
            refuse_pointer(path)
            tensors = pickled_tensors(path) if path.suffix in SUFFIXES else _mapped(path)
            _refuse_odd(path, tensors)
            self._where |= {key: (path, tensor) for key, tensor in tensors.items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    def __contains__(self, key: str) -> bool:
        return key in self._where

    def __len__(self) -> int:
        return len(self._where)

    def shape(self, key: str, dimensions: int | None = None) -> tuple[int, ...]:
        """The shape of one; with `dimensions`, one that has so many, each of at least 1.

        Raises:
            ValueError: there is none, or its shape is another; names the file and the key.
        """
        shape = tuple(self.tensor(key).shape)
        if dimensions is not None and (len(shape) != dimensions or 0 in shape):
            raise ValueError(f"{self.name}: {key} has shape {shape}, not {dimensions} dimensions of at least 1")
        return shape

    def require_layers(self, count: int) -> None:
        """Refuse a model of more layers than there are tensors, before it is built.

        Raises:
            ValueError: names the file and both numbers.
        """
        if count > len(self):
            raise ValueError(f"{self.name}: {len(self)} tensors are too few for the {count} layers its config asks for")

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
            if tensor.dtype not in DTYPES.values():
                raise ValueError(f"{path}: {key} is {_name(tensor)}, not {', '.join(DTYPES)}")

    def read(self, pieces: Sequence[Piece], *, dtype: torch.dtype | None, device: torch.device | str) -> Tensor:
        """Put pieces together, one below the other. What can stay as it is in the file stays mapped.

        Raises:
            ValueError: NaN or infinity among the values; names the file and the key.
        """
        if _UNREAD.get() and len(pieces) == 1:
            return self._mapped(pieces[0])
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
        tensor = self._mapped(piece)
        if not is_finite(tensor):
            raise ValueError(f"{self._where[piece.key][0]}: {piece.key} holds NaN or infinity")
        return tensor

    def _mapped(self, piece: Piece) -> Tensor:
        tensor = self._where[piece.key][1]
        return tensor.chunk(piece.parts)[piece.part] if piece.parts > 1 else tensor


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


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file.

    Raises:
        OSError: it cannot be written; names it.
    """
    with saving(path):
        save_file(tensors, path, metadata={"format": "pt"})


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Within the context libraries write weights; what the system has against it is raised as the system's error.

    Raises:
        OSError: the file cannot be written, for instance because the disk is full; names it.
    """
    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        told = re.search(r"os error (\d+)", str(error))
        if told is None and "inline_container" not in str(error):  # PyTorch's writer does not tell the reason
            raise
        code = int(told[1]) if told else errno.ENOSPC
        raise OSError(code, os.strerror(code), str(path)) from error


def _refuse_odd(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse what is no plain tensor with all its values in the file: a pickle can forge many kinds.

    Raises:
        ValueError: names the file and the key.
    """
    total, room = 0, 4 * path.stat().st_size  # tied weights are stored once
    for key, tensor in tensors.items():
        if _name(tensor) != str(tensor.dtype).removeprefix("torch."):
            raise ValueError(f"{path}: {key} is {_name(tensor)}, not {', '.join(DTYPES)}")
        total += tensor.nbytes
        if tensor.nbytes > tensor.untyped_storage().nbytes() or total > room:
            raise ValueError(f"{path}: {key} has shape {tuple(tensor.shape)}, of which the file has not all values")


def _name(tensor: Tensor) -> str:
    """Its dtype; or what it is, where it is no plain tensor."""
    if type(tensor) not in (Tensor, nn.Parameter):
        return type(tensor).__name__
    if tensor.layout != torch.strided:
        return str(tensor.layout).removeprefix("torch.")
    kinds = {"nested": tensor.is_nested, "quantized": tensor.is_quantized, "lazy": tensor.is_conj() or tensor.is_neg()}
    odd = next((kind for kind, is_so in kinds.items() if is_so), None)
    if tensor.device.type != "cpu":
        return f"on {tensor.device.type}"
    return odd or str(tensor.dtype).removeprefix("torch.")


def _mapped(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        file = safe_open(path, framework="pt")
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, OSError, RuntimeError, ValueError, OverflowError) as error:
        size = f"{path.stat().st_size:,} bytes"
        raise ValueError(f"{path}: cut off or not a safetensors file ({size}): {error}; fetch it anew") from error


def _give_back(mapped: Tensor) -> None:
    """Let the system forget pages of a file that have been read and are no longer needed; they count as our memory."""
    if os.name != "posix" or mapped.device.type != "cpu" or not mapped.is_contiguous():
        return
    start = -(-mapped.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    stop = (mapped.data_ptr() + mapped.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE  # whole pages, of this tensor alone
    if stop > start:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), mmap.MADV_DONTNEED)
