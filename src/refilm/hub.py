"""Download models from the Hugging Face Hub into its cache, and upload folders to it.

A cached model is found without a network connection.
"""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from refilm.errors import UserError

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


Listener = Callable[[int, int], None]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Within the context, `listener` is called with the number of bytes downloaded so far and in total."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def is_hub_id(source: str | Path) -> bool:
    """Whether `source` has the form `owner/name` and no local file or folder has that path."""
    return _ID.fullmatch(str(source)) is not None and not Path(source).exists()


def must_be_fetched(source: str | Path, *, files: Sequence[str] = ("model_index.json", "adapter.json")) -> bool:
    """Whether `source` is a Hub id of which none of the files is in the local cache; by default those of models."""
    from huggingface_hub import try_to_load_from_cache  # slow to import

    known = (try_to_load_from_cache(str(source), name) for name in files)
    return is_hub_id(source) and not any(isinstance(path, str) for path in known)


def fetched(repository: str, patterns: Sequence[str]) -> Path:
    """Download a repository's files into the Hub cache and return their folder.

    `HF_HUB_OFFLINE`, `HF_HOME` and access tokens are respected.

    Args:
        repository: `owner/name`.
        patterns: glob patterns of the required files.

    Raises:
        UserError: the repository is not in the cache and cannot be downloaded. The message explains how to fix it.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=list(patterns), tqdm_class=_bar()))
    except Exception as error:  # the network, the Hub, or the disk
        reason = _reason(error)
        raise UserError(
            f"{repository}: not a local folder, not in the Hub cache, and the download failed: {reason} To fix it: "
            "connect to the internet and unset HF_HUB_OFFLINE, or download it elsewhere with "
            f"`hf download {repository}` and pass the folder's path; a gated model also requires `hf auth login`"
        ) from error


def cached(repository: str, file: str = "config.json") -> Path:
    """The folder of a repository in the Hub cache that contains a file; nothing is downloaded.

    Raises:
        UserError: it is not in the cache, or is neither a folder nor `owner/name`; says how to fix it.
    """
    from huggingface_hub import try_to_load_from_cache

    check_repository(repository)
    found = try_to_load_from_cache(repository, file)
    if not isinstance(found, str):
        raise UserError(
            f"{repository}: not a local folder and not in the Hub cache; download it with "
            f"`hf download {repository}`, or pass a local folder"
        )
    return Path(found).parent


def check_repository(name: str) -> None:
    """Check that a name has the form `owner/name`.

    Raises:
        UserError: it has another form.
    """
    if _ID.fullmatch(name) is None:
        raise UserError(f"{name!r}: not a Hub repository id; use owner/name")


def push(files: Sequence[Path], repository: str, *, private: bool) -> str:
    """Upload files to the root of a repository in one commit. The repository is created if it does not exist.

    Args:
        repository: `owner/name`.
        private: create a new repository as private, and refuse an existing one that is public.

    Returns:
        The URL of the commit.

    Raises:
        UserError: `repository` is not a valid id or is public although `private` was requested, or the upload failed
            (Hub, network, missing login). The message explains how to fix it. Nothing is uploaded in these cases.
    """
    check_repository(repository)
    from huggingface_hub import CommitOperationAdd, HfApi

    hub = HfApi()
    try:
        hub.create_repo(repository, private=private or None, exist_ok=True)
        public = private and not hub.repo_info(repository).private
        if not public:
            additions = [CommitOperationAdd(file.name, file) for file in files]
            return hub.create_commit(repository, additions, commit_message="Upload with refilm").commit_url
    except Exception as error:  # the network, the Hub, or the disk
        raise UserError(
            f"{repository}: the upload failed: {_reason(error)} To fix it: connect to the internet and unset "
            "HF_HUB_OFFLINE, log in with `hf auth login`, and choose an owner that you have write access to"
        ) from error
    raise UserError(f"{repository}: already exists and is public; choose another name, or omit --private")


def _bar() -> Any:
    """A tqdm class that prints nothing and reports the number of bytes to the listener."""
    from tqdm import tqdm

    listener = _listener.get()

    class SilentBar(tqdm):
        def __init__(self, *args: Any, **options: Any):
            super().__init__(*args, **options | {"file": io.StringIO(), "disable": False})

        def update(self, n: float | None = 1) -> bool | None:
            shown = super().update(n)
            if listener is not None and self.unit == "B":
                listener(int(self.n), int(self.total or 0))
            return shown

    return SilentBar


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
