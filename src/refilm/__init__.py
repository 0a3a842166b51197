"""refilm puts the subject of a reference image into a video that follows a prompt."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refilm.generation import Pipeline, load
    from refilm.media import Video

__all__ = ["Pipeline", "Video", "load"]


def __getattr__(name: str) -> Any:
    """Import the names above at first use: importing torch takes seconds, and `refilm --help` does not need it."""
    if name == "Video":
        from refilm.media import Video

        return Video
    if name in __all__:
        from refilm import generation

        return getattr(generation, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
