"""Safe loading of pickled weights files, such as SAT checkpoints: no code in them can run.

Uses `torch.load` with `weights_only=True` and `mmap=True` without exceptions. Independent of models.
"""

import io
import pickle
import pickletools
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from refilm.errors import UserError

SUFFIXES = (".pt", ".pth", ".ckpt", ".bin")
_REMEDY = "save only the weights, or use safetensors"


class _Ignored:
    """Placeholder for a NumPy value in a checkpoint, such as the state of a random number generator.

    An inert class replaces NumPy's own functions, whose arguments could be forged.
    """

    def __new__(cls, *values: Any) -> "_Ignored":
        return super().__new__(cls)

    def __init__(self, *values: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass


_NUMPY = (  # globals in pickles of `np.random.get_state()` and NumPy scalars, for NumPy 1 and 2
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.ndarray",
    "numpy.dtype",
    "_codecs.encode",
)
_HARMLESS: list[Any] = [(_Ignored, name) for name in _NUMPY]


def read_pickle(path: Path) -> Any:
    """Load a pickle file, with its tensors memory-mapped on the CPU.

    Raises:
        UserError: the file is missing, truncated, or not in PyTorch's zip format, or it contains anything but tensors
            and plain values; names the file and the rejected global.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a forged file can cause any error
        wanted = _rejected_global(path, str(error))
        if wanted is not None:
            raise UserError(
                f"{path}: rejected because it tries to run {wanted}; refilm loads only tensors; {_REMEDY}"
            ) from error
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{path}: is truncated or not a weights file in PyTorch's format: {reason[0][:200]}") from error


def pickled_tensors(path: Path) -> dict[str, Tensor]:
    """Load a state dict, also if it is wrapped in `module` (DeepSpeed) or `state_dict` (Lightning).

    Raises:
        UserError: as `read_pickle` does, or the file contains no state dict.
    """
    content = read_pickle(path)
    for wrapper in ("module", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path}: contains no weights by name (received {type(content).__name__})")
    invalid = [key for key, value in content.items() if not isinstance(key, str) or not isinstance(value, Tensor)]
    if invalid:
        kind = type(content[invalid[0]]).__name__
        raise UserError(f"{path}: {invalid[0]!r} is a {kind}, not a tensor; {_REMEDY}")
    return content


def _rejected_global(path: Path, complaint: str) -> str | None:
    """The global that made loading fail, from the error message or from the opcodes of the file."""
    named = re.search(r"GLOBAL (\S+)", complaint)
    if named:
        return named[1]
    try:
        return next((name for name in _globals(_pickle_of(path)) if _is_foreign(name)), None)
    except (OSError, ValueError, IndexError, EOFError, RuntimeError, zipfile.BadZipFile, pickle.UnpicklingError):
        return None  # not a pickle


def _pickle_of(path: Path) -> bytes:
    if not zipfile.is_zipfile(path):
        return path.read_bytes()[: 1 << 24]
    with zipfile.ZipFile(path) as archive:
        inside = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
        return b"" if inside is None else archive.open(inside).read(1 << 24)


def _globals(data: bytes) -> list[str]:
    """Names of globals in order, read without executing the pickle; includes names built from two strings."""
    found, strings, stream = [], [""], io.BytesIO(data)
    try:
        while stream.tell() < len(data):  # old files contain several pickles in sequence
            for code, argument, _ in pickletools.genops(stream):
                if code.name in ("GLOBAL", "INST"):
                    found.append(str(argument).replace(" ", "."))
                elif code.name == "STACK_GLOBAL":
                    found.append(".".join(strings[-2:]))
                elif isinstance(argument, str):
                    strings.append(argument)
    except ValueError:  # truncated, or not a pickle from here
        pass
    return found


def _is_foreign(name: str) -> bool:
    return not name.startswith(("torch.", "collections.OrderedDict")) and name not in _NUMPY
