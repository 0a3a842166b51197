"""Encoders: text, image and video to what the transformer reads, and latents back to video."""

from typing import Protocol

from refilm.encoders.autoencoder import VideoAutoencoder
from refilm.encoders.convolutions import fold
from refilm.encoders.image import Fit, HiddenState, ImageEncoder
from refilm.encoders.text import TextEncoder


class Encoders(Protocol):
    """All that stands between files and the transformer. Each may be loaded only when it is asked for."""

    @property
    def text(self) -> TextEncoder:
        """Prompts to embeddings."""
        ...

    @property
    def image(self) -> ImageEncoder:
        """Images to tokens."""
        ...

    @property
    def autoencoder(self) -> VideoAutoencoder:
        """Videos to latents and back."""
        ...

    @property
    def unread(self) -> "Encoders":
        """The same to be looked at, not to compute: none of their weights is read before it is asked for."""
        ...


__all__ = ["Encoders", "Fit", "HiddenState", "ImageEncoder", "TextEncoder", "VideoAutoencoder", "fold"]
