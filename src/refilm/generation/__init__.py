"""Generation: a prompt and a reference image become a video."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from refilm.generation.request import Request

if TYPE_CHECKING:
    from refilm.generation.attention_maps import AttentionMaps
    from refilm.generation.loading import load
    from refilm.generation.pipeline import Pipeline

__all__ = ["AttentionMaps", "Pipeline", "Request", "load"]
_ROOMS = {"AttentionMaps": "attention_maps", "Pipeline": "pipeline", "load": "loading"}


def __getattr__(name: str) -> Any:
    """What needs torch, imported at first use: settings and their help do without."""
    if name in _ROOMS:
        return getattr(import_module(f"refilm.generation.{_ROOMS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
