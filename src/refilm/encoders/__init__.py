"""Encoders: what refilm needs of a family's text encoder and autoencoder, and the encoder of reference images."""

from refilm.encoders.image import Fit, HiddenState, ImageEncoder
from refilm.encoders.protocols import Encoders, LatentCodec, TextEncoder, Tokenizer

__all__ = ["Encoders", "Fit", "HiddenState", "ImageEncoder", "LatentCodec", "TextEncoder", "Tokenizer"]
