"""Wan 2.1's causal 3-D autoencoder: the model, its files, and the codec that the rest of refilm uses."""

from refilm.backbones.wan.autoencoder.codec import VideoAutoencoder
from refilm.backbones.wan.autoencoder.files import compression_of, load_autoencoder, load_codec, save_autoencoder
from refilm.backbones.wan.autoencoder.model import Autoencoder, AutoencoderSize

__all__ = [
    "Autoencoder",
    "AutoencoderSize",
    "VideoAutoencoder",
    "compression_of",
    "load_autoencoder",
    "load_codec",
    "save_autoencoder",
]
