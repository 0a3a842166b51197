"""Models on the Hugging Face Hub: fetched once into its cache, and found there afterwards, also without a network."""

import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import snapshot_download

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_hub_id(source: str | Path) -> bool:
    """Whether it looks like `owner/name`, and there is no such folder here."""
    return isinstance(source, str) and _ID.fullmatch(source) is not None and not Path(source).exists()


def fetched(repository: str, patterns: Sequence[str]) -> Path:
    """The folder of a repository's files in the Hub's cache, where `HF_HUB_OFFLINE`, `HF_HOME` and tokens count.

    Args:
        repository: `owner/name`.
        patterns: of the files that are needed.

    Raises:
        ValueError: it is not in the cache and cannot be fetched; says why and what to do.
    """
    try:
        return Path(snapshot_download(repository, allow_patterns=list(patterns)))
    except Exception as error:  # of the network, of the Hub, or of the disk
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{repository}: no folder here, not in the Hub's cache, and not fetched: {reason} To mend it: connect and "
            f"unset HF_HUB_OFFLINE, or fetch it elsewhere with `hf download {repository}` and give the folder's path; "
            "a gated model also needs `hf auth login`"
        ) from error
