"""How clips are prepared and encoded."""

from pydantic import Field

from refilm.data.views import ViewSettings
from refilm.media.images import Color
from refilm.settings import Settings

PIXELS = 1 << 22  # of a batch, where its size is left open: 16 of the pocket model's clips, one of CogVideoX's

PACE = ("batch", "shard", "workers", "patience")  # settings that change nothing of what is encoded


class EncodeSettings(Settings):
    """What is cut out of the videos and images, and how much is done at once."""

    frames: int = Field(default=49, ge=1)
    """Frames of a clip; with buckets, at most so many."""
    fps: float = Field(default=8.0, gt=0, le=1000)
    """Frames a second of a clip: the nearest in time are taken."""
    height: int = Field(default=480, ge=1)
    """Height in pixels."""
    width: int = Field(default=720, ge=1)
    """Width in pixels."""
    buckets: bool = False
    """Give each clip the size of about the same area that comes nearest its shape, and the length that it has."""
    views: ViewSettings = ViewSettings()
    """Augmented views of each reference."""
    background: Color = (255, 255, 255)
    """Red, green and blue behind transparent images and subjects that are cut out."""
    batch: int | None = Field(default=None, ge=1)
    """Encoded at once; left out: 16 captions or images, and as many clips as have four million pixels, up to 16."""
    shard: int = Field(default=512, ge=1)
    """Most encodings in a file; large ones are fewer."""
    workers: int = Field(default=2, ge=1)
    """Processes that read videos and images."""
    patience: float = Field(default=120.0, gt=0)
    """Seconds that one video or image may take to be read."""

    def batch_of(self, pixels: int) -> int:
        """Clips encoded at once, where each has so many pixels in all of its frames."""
        return self.batch or max(1, min(16, PIXELS // pixels))
