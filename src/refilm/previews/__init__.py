"""Previews of latents while a video is sampled, without the autoencoder: a fitted linear map, or a tiny decoder.

Does not depend on a model family, on samplers, or on where the clips of a fit come from.
"""

from typing import TYPE_CHECKING

from refilm.lazy import attributes

if TYPE_CHECKING:
    from refilm.previews.choosing import preview_of
    from refilm.previews.fitting import (
        colors_of,
        correlation,
        correlations,
        decoded_pairs,
        encoded_pairs,
        fit_preview,
    )
    from refilm.previews.linear import LinearPreview
    from refilm.previews.preview import Preview
    from refilm.previews.tiny import TinyDecoder

__all__ = [
    "PREVIEW",
    "LinearPreview",
    "Preview",
    "TinyDecoder",
    "colors_of",
    "correlation",
    "correlations",
    "decoded_pairs",
    "encoded_pairs",
    "fit_preview",
    "preview_of",
]

PREVIEW = "preview.safetensors"
"""Name of the linear preview's file in a base model's folder."""

_FITTING = ("colors_of", "correlation", "correlations", "decoded_pairs", "encoded_pairs", "fit_preview")
__getattr__ = attributes(
    __name__,
    {
        **dict.fromkeys(_FITTING, "refilm.previews.fitting"),
        "LinearPreview": "refilm.previews.linear",
        "Preview": "refilm.previews.preview",
        "TinyDecoder": "refilm.previews.tiny",
        "preview_of": "refilm.previews.choosing",
    },
)
