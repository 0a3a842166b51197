"""Models on the Hugging Face Hub: fetched once into its cache, and found there afterwards, also without a network;
and folders of ours pushed to it.
"""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


Listener = Callable[[int, int], None]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Within the context, `listener` is called with the bytes that were fetched and all that are to be fetched."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def is_hub_id(source: str | Path) -> bool:
    """Whether it looks like `owner/name`, and there is no such file or folder here."""
    return _ID.fullmatch(str(source)) is not None and not Path(source).exists()


def must_be_fetched(source: str | Path) -> bool:
    """Whether it is on the Hub, a base model or an adapter, and not in the Hub's cache here."""
    from huggingface_hub import try_to_load_from_cache  # takes longer to import than most commands need it

    known = (try_to_load_from_cache(str(source), name) for name in ("model_index.json", "adapter.json"))
    return is_hub_id(source) and not any(isinstance(path, str) for path in known)


def fetched(repository: str, patterns: Sequence[str]) -> Path:
    """The folder of a repository's files in the Hub's cache, where `HF_HUB_OFFLINE`, `HF_HOME` and tokens count.

    Args:
        repository: `owner/name`.
        patterns: of the files that are needed.

    Raises:
        ValueError: it is not in the cache and cannot be fetched; says why and what to do.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=list(patterns), tqdm_class=_bar()))
    except Exception as error:  # of the network, of the Hub, or of the disk
        reason = _reason(error)
        raise ValueError(
            f"{repository}: no folder here, not in the Hub's cache, and not fetched: {reason} To mend it: connect and "
            f"unset HF_HUB_OFFLINE, or fetch it elsewhere with `hf download {repository}` and give the folder's path; "
            "a gated model also needs `hf auth login`"
        ) from error


def push(files: Sequence[Path], repository: str, *, private: bool) -> str:
    """Upload files, by their names, to the top of a repository in one commit; it is made if it is not there.

    Args:
        repository: `owner/name`.
        private: whether a new repository is private, and an old one must be.

    Returns:
        The address of the commit.

    Raises:
        ValueError: not a repository's name, or a public one where a private one is asked for; or the Hub, the network
            or a missing login does not let it; says why and what to do. Nothing is uploaded then.
    """
    if _ID.fullmatch(repository) is None:
        raise ValueError(f"{repository!r}: not a repository on the Hub; give owner/name")
    from huggingface_hub import CommitOperationAdd, HfApi

    hub = HfApi()
    try:
        hub.create_repo(repository, private=private or None, exist_ok=True)
        public = private and not hub.repo_info(repository).private
        if not public:
            additions = [CommitOperationAdd(file.name, file) for file in files]
            return hub.create_commit(repository, additions, commit_message="Upload with refilm").commit_url
    except Exception as error:  # of the network, of the Hub, or of the disk
        raise ValueError(
            f"{repository}: not pushed: {_reason(error)} To mend it: connect and unset HF_HUB_OFFLINE, log in with "
            "`hf auth login`, and take an owner that you may write for"
        ) from error
    raise ValueError(f"{repository}: is there already, and public; give another name, or leave --private out")


def _bar() -> Any:
    """A bar of tqdm's that draws nothing and tells the listener how many bytes there are."""
    from tqdm import tqdm

    listener = _listener.get()

    class Told(tqdm):
        def __init__(self, *args: Any, **options: Any):
            super().__init__(*args, **options | {"file": io.StringIO(), "disable": False})

        def update(self, n: float | None = 1) -> bool | None:
            shown = super().update(n)
            if listener is not None and self.unit == "B":
                listener(int(self.n), int(self.total or 0))
            return shown

    return Told


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
