"""Tensors in files: found by key, compared with the expected shapes, and read once.

Supports safetensors and, through `pickles`, SAT checkpoints. Independent of models.
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
from typing import Any, Literal, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from refilm.errors import UserError
from refilm.weights.files import refuse_pointer
from refilm.weights.pickles import SUFFIXES, pickled_tensors

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DtypeName = Literal["float32", "bfloat16", "float16"]
NAMES: dict[torch.dtype, DtypeName] = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}


class Piece(NamedTuple):
    """Rows of a tensor in a file: part number `part` of `parts` equal parts."""

    key: str
    part: int = 0
    parts: int = 1


Layout = Mapping[str, Sequence[Piece]]
"""Weights of a module by name, and the pieces of tensors in a file that each consists of, in row order."""


_UNREAD: ContextVar[bool] = ContextVar("unread", default=False)


@contextmanager
def unread() -> Iterator[None]:
    """Context manager in which models are loaded for inspection: weights stay memory-mapped and are not read.

    Names, shapes and dtypes are still validated.
    """
    before = _UNREAD.set(True)
    try:
        yield
    finally:
        _UNREAD.reset(before)


class TensorFiles:
    """Tensors by key, in one or several files: safetensors, or pickles of SAT (see `pickles`).

    Tensors are memory-mapped and read only when their values are needed, so a model is in memory only once.
    """

    def __init__(self, paths: Sequence[Path]):
        """Open the files.

        Raises:
            UserError: a file is missing, truncated, or not a weights file; names it.
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
        """The shape of a tensor; with `dimensions`, its number of dimensions is checked, each at least 1.

        Raises:
            UserError: the tensor is missing or has another shape; names the file and the key.
        """
        shape = tuple(self.tensor(key).shape)
        if dimensions is not None and (len(shape) != dimensions or 0 in shape):
            raise UserError(f"{self.name}: {key} has shape {shape}, not {dimensions} dimensions of at least 1")
        return shape

    def require_layers(self, count: int) -> None:
        """Reject a model with more layers than tensors before it is created.

        Raises:
            UserError: there are too few tensors; names the file and both numbers.
        """
        if count > len(self):
            raise UserError(f"{self.name}: {len(self)} tensors are too few for the {count} layers in its config")

    def tensor(self, key: str) -> Tensor:
        """A memory-mapped tensor.

        Raises:
            UserError: it is missing; names the file and the key.
        """
        if key not in self._where:
            raise UserError(f"{self.name}: missing key {key}")
        return self._where[key][1]

    def drop(self, *keys: str) -> None:
        """Ignore the given keys."""
        for key in keys:
            self._where.pop(key, None)

    def only(self, keys: Collection[str]) -> "TensorFiles":
        """The same files restricted to the given keys."""
        part = TensorFiles([])
        part.name, part._where = self.name, {key: self._where[key] for key in keys}
        return part

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Compare keys, shapes and dtypes with the expected ones before any tensor is read.

        Raises:
            UserError: a key is missing or unexpected, or a shape or dtype is wrong; names the file and the key.
        """
        for what, keys in (("missing", shapes.keys() - self._where), ("surplus", self._where.keys() - shapes.keys())):
            if keys:
                more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
                raise UserError(f"{self.name}: {what} key {min(keys)}{more}")
        for key, wanted in shapes.items():
            path, tensor = self._where[key]
            if tuple(tensor.shape) != tuple(wanted):
                raise UserError(f"{path}: {key} has shape {tuple(tensor.shape)}, not {tuple(wanted)}")
            if tensor.dtype not in DTYPES.values():
                raise UserError(f"{path}: {key} is {_name(tensor)}, not {', '.join(DTYPES)}")

    def read(self, pieces: Sequence[Piece], *, dtype: torch.dtype | None, device: torch.device | str) -> Tensor:
        """Concatenate pieces by rows. A tensor that needs no conversion stays memory-mapped.

        Raises:
            UserError: the values contain NaN or infinity; names the file and the key.
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
            _release_pages(part)
        return target

    def _finite(self, piece: Piece) -> Tensor:
        tensor = self._mapped(piece)
        if not is_finite(tensor):
            raise UserError(f"{self._where[piece.key][0]}: {piece.key} contains NaN or infinity")
        return tensor

    def _mapped(self, piece: Piece) -> Tensor:
        tensor = self._where[piece.key][1]
        return tensor.chunk(piece.parts)[piece.part] if piece.parts > 1 else tensor


class _Uninitialized(TorchFunctionMode):
    """Skips the functions of `torch.nn.init`; on the meta device some of them import PyTorch's compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


@contextmanager
def unfilled() -> Iterator[None]:
    """Context manager in which modules are created without memory and values for their weights; see `fill`."""
    with torch.device("meta"), _Uninitialized():
        yield


def fill(
    module: nn.Module,
    files: TensorFiles,
    layout: Layout,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    exact: Mapping[str, torch.dtype] | None = None,
) -> None:
    """Load the weights of a module on the meta device one by one, so that they are in memory only once.

    Args:
        module: the module, created within `unfilled`; all its weights are in `layout`.
        files: files with exactly the tensors in `layout`.
        layout: the pieces of each weight.
        dtype: dtype of the weights in memory. Default: as stored.
        device: device of the weights.
        exact: dtypes of individual weights by name.

    Raises:
        UserError: a key, shape or dtype is wrong, or a value is not finite; names the file and the key.
    """
    shapes = {name: tuple(weight.shape) for name, weight in module.state_dict().items()}
    files.check(
        {p.key: (shapes[name][0] // len(of) * p.parts, *shapes[name][1:]) for name, of in layout.items() for p in of}
    )
    read: dict[tuple[Piece, ...], Tensor] = {}  # tied weights have the same pieces
    for name, of in layout.items():
        if tuple(of) not in read:
            read[tuple(of)] = files.read(of, dtype=(exact or {}).get(name, dtype), device=device)
    module.load_state_dict({name: read[tuple(of)] for name, of in layout.items()}, assign=True)


def is_finite(tensor: Tensor) -> bool:
    """Whether all values are finite. Reads them once without allocating memory."""
    return tensor.numel() == 0 or all(math.isfinite(end.item()) for end in torch.aminmax(tensor))


def save_tensors(tensors: dict[str, Tensor], path: Path, *, about: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file, with texts `about` it in its header.

    Raises:
        OSError: the file cannot be written; names it.
    """
    with saving(path):
        save_file(tensors, path, metadata={"format": "pt", **(about or {})})


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Context manager that converts errors of libraries that write weights to `OSError`.

    Raises:
        OSError: the file cannot be written, for example because the disk is full; names it.
    """
    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        match = re.search(r"os error (\d+)", str(error))
        if match is None and "inline_container" not in str(error):  # PyTorch's writer gives no reason
            raise
        code = int(match[1]) if match else errno.ENOSPC
        raise OSError(code, os.strerror(code), str(path)) from error


def _refuse_odd(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Reject anything but plain tensors with all values in the file; a pickle can forge other kinds.

    Raises:
        UserError: a tensor is of another kind; names the file and the key.
    """
    total, room = 0, 4 * path.stat().st_size  # tied weights are stored once
    for key, tensor in tensors.items():
        if _name(tensor) != str(tensor.dtype).removeprefix("torch."):
            raise UserError(f"{path}: {key} is {_name(tensor)}, not {', '.join(DTYPES)}")
        total += tensor.nbytes
        if tensor.nbytes > tensor.untyped_storage().nbytes() or total > room:
            raise UserError(
                f"{path}: {key} has shape {tuple(tensor.shape)}, but the file does not contain all its values"
            )


def _name(tensor: Tensor) -> str:
    """The dtype of a plain tensor, or the kind of any other."""
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
        raise UserError(f"{path}: no such file")
    try:
        file = safe_open(path, framework="pt")
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, RuntimeError, ValueError, OverflowError) as error:
        size = f"{path.stat().st_size:,} bytes"
        raise UserError(
            f"{path}: is truncated or not a safetensors file ({size}): {error}; download it again"
        ) from error


def _release_pages(mapped: Tensor) -> None:
    """Release pages of a memory-mapped file that were read; otherwise they count as memory of the process."""
    if os.name != "posix" or mapped.device.type != "cpu" or not mapped.is_contiguous():
        return
    start = -(-mapped.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    stop = (mapped.data_ptr() + mapped.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE  # only whole pages of this tensor
    if stop > start:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), mmap.MADV_DONTNEED)
