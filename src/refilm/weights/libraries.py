"""Loading through other libraries.

They load nearly anything from a folder: classes by name, Python files, other files by path. So they get a temporary
folder with only the validated fields of the configuration files and, as copies, the other files that they need.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from refilm.errors import UserError


def tried(folder: Path, load: Callable[[], Any]) -> Any:
    """Call a loader of another library and convert its errors to one that names the folder."""
    try:
        return load()
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # of any kind: a panic in Rust code is not an Exception
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{folder}: cannot be loaded: {reason[0][:200]}") from error


@contextmanager
def clean_folder(files: Mapping[str, Any]) -> Iterator[Path]:
    """A temporary folder with these files: objects are written as JSON, paths are copied."""
    with tempfile.TemporaryDirectory(prefix="refilm-") as name:
        folder = Path(name)
        for file, content in files.items():
            if isinstance(content, Path):
                shutil.copyfile(content, folder / file)
            else:
                (folder / file).write_text(json.dumps(content), encoding="utf-8")
        yield folder
