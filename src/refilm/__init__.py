"""refilm puts the subject of a reference image into a video that follows a prompt."""

from typing import TYPE_CHECKING

from refilm.lazy import attributes

if TYPE_CHECKING:
    from refilm.control import Subject
    from refilm.generation import Pipeline, load
    from refilm.media import Video

__all__ = ["Pipeline", "Subject", "Video", "load"]

# importing torch takes seconds, and `refilm --help` does not need it
__getattr__ = attributes(
    __name__,
    {
        "Pipeline": "refilm.generation.pipeline",
        "Subject": "refilm.control.subject",
        "Video": "refilm.media.video",
        "load": "refilm.generation.loading",
    },
)
