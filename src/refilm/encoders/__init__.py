"""Encoders: convert text, image and video to transformer inputs, and decode latents to video."""

from typing import Protocol

from refilm.encoders.autoencoder import VideoAutoencoder
from refilm.encoders.convolutions import fold
from refilm.encoders.image import Fit, HiddenState, ImageEncoder
from refilm.encoders.text import TextEncoder


class Encoders(Protocol):
    """The encoders of a base model. An implementation may load each one on first access."""

    @property
    def text(self) -> TextEncoder:
        """Encodes prompts to embeddings."""
        ...

    @property
    def image(self) -> ImageEncoder:
        """Encodes images to tokens."""
        ...

    @property
    def autoencoder(self) -> VideoAutoencoder:
        """Encodes videos to latents and decodes them."""
        ...

    @property
    def unread(self) -> "Encoders":
        """The same encoders for inspection only: weights stay mapped in their files and are read on access."""
        ...


__all__ = ["Encoders", "Fit", "HiddenState", "ImageEncoder", "TextEncoder", "VideoAutoencoder", "fold"]
