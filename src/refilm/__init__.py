"""refilm puts the subject of a picture into a video that follows a prompt."""

from refilm.generation import Pipeline, load
from refilm.media import Video

__all__ = ["Pipeline", "Video", "load"]
