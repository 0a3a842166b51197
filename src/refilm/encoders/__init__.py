"""Encoders: what refilm needs of a family's text encoder and autoencoder, and the encoder of reference images."""

from refilm.encoders.image import ImageEncoder
from refilm.encoders.protocols import Encoders, LatentCodec, TextEncoder, Tokenizer

__all__ = ["Encoders", "ImageEncoder", "LatentCodec", "TextEncoder", "Tokenizer"]
