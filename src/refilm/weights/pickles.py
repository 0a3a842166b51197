"""Pickled weight files of the research code, opened so that no code of theirs can run.

`torch.load` with `weights_only=True` and `mmap=True`, and nothing weaker. Knows pickles; nothing of models.
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

SUFFIXES = (".pt", ".pth", ".ckpt", ".bin")
_REMEDY = "save the weights alone, or as safetensors"


class _Ignored:
    """Stands where a checkpoint holds a NumPy value, such as the state of a random generator: nothing here needs it.

    An inert class in the place of NumPy's own functions, whose arguments could be forged.
    """

    def __new__(cls, *values: Any) -> "_Ignored":
        return super().__new__(cls)

    def __init__(self, *values: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass


_NUMPY = (  # what `np.random.get_state()` and NumPy's scalars are pickled with, by NumPy 1 and by NumPy 2
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
    """What a pickle file holds, its tensors mapped from the file, on the CPU.

    Raises:
        ValueError: the file is missing, cut off, or not in PyTorch's zip format, or it asks for anything but tensors
            and plain values; names the file and what was asked for.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever a forged file makes the reader trip over
        wanted = _asked_for(path, str(error))
        if wanted is not None:
            raise ValueError(
                f"{path}: refused, for it asks to run {wanted}, and refilm reads tensors alone; {_REMEDY}"
            ) from error
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{path}: cut off or not a file of weights in PyTorch's format: {reason[0][:200]}") from error


def pickled_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict by key; one wrapped as `module` (DeepSpeed) or `state_dict` (Lightning) is unwrapped.

    Raises:
        ValueError: as `read_pickle` does, or there is no state dict in it.
    """
    content = read_pickle(path)
    for wrapper in ("module", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path}: holds no weights by name (received {type(content).__name__})")
    odd = [key for key, value in content.items() if not isinstance(key, str) or not isinstance(value, Tensor)]
    if odd:
        raise ValueError(f"{path}: {odd[0]!r} is a {type(content[odd[0]]).__name__}, not a tensor; {_REMEDY}")
    return content


def _asked_for(path: Path, complaint: str) -> str | None:
    """The global that a refused file asks for: PyTorch's reader names it, or the file's own opcodes tell."""
    named = re.search(r"GLOBAL (\S+)", complaint)
    if named:
        return named[1]
    try:
        return next((name for name in _globals(_pickle_of(path)) if _is_foreign(name)), None)
    except (OSError, ValueError, IndexError, EOFError, RuntimeError, zipfile.BadZipFile, pickle.UnpicklingError):
        return None  # no pickle at all


def _pickle_of(path: Path) -> bytes:
    if not zipfile.is_zipfile(path):
        return path.read_bytes()[: 1 << 24]
    with zipfile.ZipFile(path) as archive:
        inside = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
        return b"" if inside is None else archive.open(inside).read(1 << 24)


def _globals(data: bytes) -> list[str]:
    """Names in the order in which they are asked for; read, never run. One spelled by two strings is found as well."""
    found, strings, stream = [], [""], io.BytesIO(data)
    try:
        while stream.tell() < len(data):  # old files hold several pickles, one after the other
            for code, argument, _ in pickletools.genops(stream):
                if code.name in ("GLOBAL", "INST"):
                    found.append(str(argument).replace(" ", "."))
                elif code.name == "STACK_GLOBAL":
                    found.append(".".join(strings[-2:]))
                elif isinstance(argument, str):
                    strings.append(argument)
    except ValueError:  # where it is cut off, or no pickle any more
        pass
    return found


def _is_foreign(name: str) -> bool:
    return not name.startswith(("torch.", "collections.OrderedDict")) and name not in _NUMPY
