"""Settings of the commands for data: how clips are checked, encoded and given reference images. Imports no torch."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from refilm.errors import UserError
from refilm.media.colors import WHITE, Color
from refilm.settings import Settings

PIXELS = 1 << 22  # pixels of a default batch: 16 clips of the pocket model, one of CogVideoX
OTHER_CLIPS = 2  # number of other clips of the subject that reference frames are taken from

Positive = Annotated[float, Field(gt=0, le=10)]


class AugmentationSettings(Settings):
    """Strength of the augmentation of reference images."""

    count: int = Field(default=0, ge=0)
    """Number of augmented versions of each reference, in addition to the unchanged image."""
    scale: tuple[Positive, Positive] = (0.8, 1.5)
    """Smallest and largest scale factor; sampled uniformly on a logarithmic scale."""
    shift: float = Field(default=0.1, ge=0, le=0.5)
    """Largest shift, as a fraction of each side; an image that is scaled down stays within its frame."""
    rotation: float = Field(default=15.0, ge=0, le=180)
    """Largest rotation in either direction, in degrees."""
    color: float = Field(default=0.1, ge=0, lt=1)
    """Largest relative change of brightness, contrast and saturation; the hue rotates by up to 36 degrees times it."""
    flip: bool = False
    """Mirror half of the augmented images. Leave it off if left and right matter, for example with writing."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.scale[0] > self.scale[1]:
            raise UserError(f"scale must be the smallest and then the largest factor, received {self.scale}")
        return self


class CheckSettings(Settings):
    """Requirements on clips. The defaults are those of CogVideoX-2B."""

    frames: int = Field(default=49, ge=1)
    """Number of frames that a clip must have; shorter clips cannot be used."""
    fps: float = Field(default=8.0, gt=0, le=1000)
    """Frame rate at which clips are sampled, in frames per second; the frames nearest in time are used."""
    height: int = Field(default=480, ge=1)
    """Height in pixels to which clips are scaled and cropped."""
    width: int = Field(default=720, ge=1)
    """Width in pixels to which clips are scaled and cropped."""
    tokens: int = Field(default=226, ge=1)
    """Maximum number of tokens of a caption, including the end token."""


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
    patience: float = Field(default=120.0, gt=0, le=1_000_000)
    """Time limit for reading one video or image, in seconds."""

    def batch_of(self, pixels: int) -> int:
        """Number of clips in a batch, for the number of pixels in all frames of one clip."""
        return self.batch or max(1, min(16, PIXELS // pixels))


class PrepareSettings(Settings):
    """How references are created for clips that have none."""

    min_distance: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Minimum distance between a clip's first frame and a reference from the same video, in seconds."""
    frames: int = Field(default=49, ge=1)
    """Number of frames that training uses from the start of each clip; references avoid this part if possible."""
    fps: float = Field(default=8.0, gt=0, le=1000)
    """Frame rate of training, in frames per second."""
    candidates: int = Field(default=8, ge=OTHER_CLIPS, le=64)
    """Number of candidate frames for a reference; the sharpest is used."""
    cut_out: bool = False
    """Put subjects that have a mask (of their clip or of their reference) on a plain background."""
    background: Color = WHITE
    """The background color: red, green and blue, 0 to 255."""
    seed: int = Field(default=0, ge=0)
    """Random seed; the same seed selects the same frames."""
