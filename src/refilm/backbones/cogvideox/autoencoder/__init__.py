"""CogVideoX's causal 3-D autoencoder: the model, its files, and the codec that the rest of refilm uses."""

from refilm.backbones.cogvideox.autoencoder.codec import VideoAutoencoder
from refilm.backbones.cogvideox.autoencoder.files import (
    AutoencoderFields,
    filled,
    load_autoencoder,
    save_autoencoder,
)
from refilm.backbones.cogvideox.autoencoder.model import Autoencoder, AutoencoderSize, Posterior

__all__ = [
    "Autoencoder",
    "AutoencoderFields",
    "AutoencoderSize",
    "Posterior",
    "VideoAutoencoder",
    "filled",
    "load_autoencoder",
    "save_autoencoder",
]
