"""Generation of videos from prompts and reference images."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from refilm.generation.request import Request

if TYPE_CHECKING:
    from refilm.generation.attention_maps import AttentionMaps
    from refilm.generation.loading import load
    from refilm.generation.pipeline import Pipeline

__all__ = ["AttentionMaps", "Pipeline", "Request", "load"]
_MODULES = {"AttentionMaps": "attention_maps", "Pipeline": "pipeline", "load": "loading"}


def __getattr__(name: str) -> Any:
    """Import what needs torch at first use, so that settings and `--help` work without it."""
    if name in _MODULES:
        return getattr(import_module(f"refilm.generation.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
