"""Encoders: text, picture and video to what the transformer reads, and latents back to video."""

from dataclasses import dataclass

from refilm.encoders.autoencoder import VideoAutoencoder
from refilm.encoders.image import ImageEncoder
from refilm.encoders.text import TextEncoder


@dataclass(frozen=True)
class Encoders:
    """All that stands between files and the transformer."""

    text: TextEncoder
    image: ImageEncoder
    autoencoder: VideoAutoencoder


__all__ = ["Encoders", "ImageEncoder", "TextEncoder", "VideoAutoencoder"]
