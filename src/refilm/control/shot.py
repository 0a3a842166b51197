"""The sizes of a video and of its sampling, which masks and curves resolve to."""

from dataclasses import dataclass

from refilm.geometry import Compression, Geometry, Grid


@dataclass(frozen=True)
class Shot:
    """The sizes of a video and of its sampling."""

    size: Geometry
    """Sizes of the transformer."""
    compression: Compression
    """Compression factors from pixels to latents."""
    fps: float
    """Frames per second."""
    frames: int
    """Number of frames."""
    height: int
    """Height in pixels."""
    width: int
    """Width in pixels."""
    steps: int
    """Number of sampler steps."""

    @property
    def grid(self) -> Grid:
        """The grid of the video tokens.

        Raises:
            UserError: the model does not support this number of frames or this size.
        """
        latent = self.compression.latent_size(self.height, self.width)
        return self.size.grid(self.compression.latent_frames(self.frames), *latent)
