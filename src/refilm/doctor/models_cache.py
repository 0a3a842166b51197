"""The Hugging Face Hub's cache: its folder, its models, offline mode, and whether there is a token (never which)."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from refilm.doctor.checks import Check, gib, ok, warning

OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
NO = ("", "0", "false", "no", "off")


@dataclass(frozen=True)
class CacheFacts:
    """What the cache contains, and the variables that change how it is used."""

    path: Path
    models: tuple[str, ...]
    """Hub ids."""
    size: int
    """Bytes of all models."""
    token: bool
    """Whether there is an access token."""
    offline: tuple[str, ...] = ()
    """Variables that forbid connections."""


def gather() -> CacheFacts:
    """Read the cache's folder."""
    from huggingface_hub import constants, get_token

    path = Path(constants.HF_HUB_CACHE)
    folders = sorted(path.glob("models--*")) if path.is_dir() else []
    blobs = [file.stat().st_size for folder in folders for file in (folder / "blobs").glob("*") if file.is_file()]
    return CacheFacts(
        path,
        tuple(folder.name.removeprefix("models--").replace("--", "/") for folder in folders),
        sum(blobs),
        get_token() is not None,
        tuple(name for name in OFFLINE if os.environ.get(name, "").lower() not in NO),
    )


def judge(facts: CacheFacts) -> Iterator[Check]:
    """Checks of the cache and of access to the Hub."""
    models = f": {', '.join(facts.models)}" if facts.models else ""
    number = f"{len(facts.models)} model{'s' * (len(facts.models) != 1)}"
    yield ok("Hub cache", f"{facts.path}, {number}, {gib(facts.size)}{models}")
    token = "a token is set" if facts.token else "no token, which only private and gated models need (`hf auth login`)"
    if not facts.offline:
        yield ok("Hub access", f"online; {token}")
        return
    finding = f"offline ({', '.join(facts.offline)}); {token}"
    if facts.models:
        yield ok("Hub access", finding)
        return
    yield warning(
        "Hub access",
        f"{finding}; the cache has no models",
        f"Unset {' and '.join(facts.offline)} to download base models, or copy a cache to {facts.path}. "
        "The model pocket needs no download.",
    )
