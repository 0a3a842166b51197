"""Settings of encoding."""

from pydantic import Field

from refilm.data.augmentation import AugmentationSettings
from refilm.media.images import Color
from refilm.settings import Settings

PIXELS = 1 << 22  # pixels of a default batch: 16 clips of the pocket model, one of CogVideoX

PACE = ("batch", "shard", "workers", "patience")  # settings that do not affect the encodings


class EncodeSettings(Settings):
    """How videos and images are prepared, and how many are encoded at once."""

    frames: int = Field(default=49, ge=1)
    """Number of frames of a clip; with `buckets`, the maximum number."""
    fps: float = Field(default=8.0, gt=0, le=1000)
    """Frame rate of a clip, in frames per second; the frames nearest in time are used."""
    height: int = Field(default=480, ge=1)
    """Height of a clip in pixels; with `buckets`, height and width define the area."""
    width: int = Field(default=720, ge=1)
    """Width of a clip in pixels."""
    buckets: bool = False
    """Encode each clip at a size of about the same area that best fits its aspect ratio, and allow shorter clips."""
    views: AugmentationSettings = AugmentationSettings()
    """Augmentation of reference images."""
    background: Color = (255, 255, 255)
    """Red, green and blue (0 to 255) behind transparent images and cut-out subjects."""
    batch: int | None = Field(default=None, ge=1)
    """Batch size of encoding. Default: 16 captions or images, and clips of about four million pixels, at most 16."""
    shard: int = Field(default=512, ge=1)
    """Maximum number of encodings in a cache shard; shards of large encodings contain fewer."""
    workers: int = Field(default=2, ge=1)
    """Number of processes that read videos and images."""
    patience: float = Field(default=120.0, gt=0)
    """Time limit for reading one video or image, in seconds."""

    def batch_of(self, pixels: int) -> int:
        """Number of clips in a batch, for the number of pixels in all frames of one clip."""
        return self.batch or max(1, min(16, PIXELS // pixels))
