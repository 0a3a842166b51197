"""Generation: a prompt and a reference picture become a video."""

from typing import TYPE_CHECKING, Any

from refilm.generation.request import Request

if TYPE_CHECKING:
    from refilm.generation.looks import Looks
    from refilm.generation.pipeline import Pipeline, load

__all__ = ["Looks", "Pipeline", "Request", "load"]


def __getattr__(name: str) -> Any:
    """The pipeline, imported at first use: settings and their help do without torch."""
    if name in __all__:
        from refilm.generation import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
