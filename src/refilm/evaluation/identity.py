"""What identifies a case: everything that a metric may see of it, images by their content."""

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from refilm.evaluation.case import Case
from refilm.evaluation.masks import mask_file
from refilm.files import sha256_of


def identity_of(case: Case) -> list[Any]:
    """A case as plain values: name, prompt, group, details, the hashes of the subject's images, and of their masks."""
    masks = [None if mask is None else _sha256(mask) for mask in map(mask_file, case.subject)]
    images = [_sha256(path) for path in case.subject]
    return [case.name, case.prompt, case.group, dict(case.details), images, *([masks] if any(masks) else [])]


def identity_of_all(cases: Iterable[Case]) -> str:
    """A hash of cases, with the images that a model gets."""
    return hashed([[identity_of(case), [_sha256(path) for path in case.reference]] for case in cases])


def hashed(content: Any) -> str:
    """The sha256 of plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    state = path.stat()
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4096)
def _read(path: Path, changed: int, size: int) -> str:
    """The sha256 of a file, read once while it stays as it is."""
    return sha256_of(path)
