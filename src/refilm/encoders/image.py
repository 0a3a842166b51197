"""Encoding of reference images to CLIP tokens. An image keeps its aspect ratio: it is padded to a square.

It is squashed to a square only for adapters that were trained that way.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from PIL import Image
from torch import Tensor

from refilm.media import border_color, pad_to_square

if TYPE_CHECKING:
    from transformers import CLIPVisionModel
    from transformers.image_processing_utils import BaseImageProcessor

Fit = Literal["pad", "squash-bilinear"]
HiddenState = Literal["last", "penultimate"]


class ImageEncoder:
    """A CLIP vision tower with its image processor.

    Args:
        processor: resizes and normalizes.
        model: the vision tower.
        fit: how an image becomes a square: `pad` pads it with its border color; `squash-bilinear` stretches it, as in
            the SAT fork with reference cross-attention.
        hidden_state: the hidden state used as tokens: `last` (output of the last layer) or `penultimate`.
    """

    def __init__(
        self,
        processor: "BaseImageProcessor",
        model: "CLIPVisionModel",
        *,
        fit: Fit = "pad",
        hidden_state: HiddenState = "last",
    ):
        self.processor, self.model, self.fit, self.hidden_state = processor, model, fit, hidden_state

    @property
    def width(self) -> int:
        """Channels per token, E."""
        return self.model.config.hidden_size

    def pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """Preprocess images to (B, 3, H, W): square, resized and normalized."""
        if self.fit == "squash-bilinear":
            side = int(self.model.config.image_size)  # pyright: ignore[reportArgumentType] - one number in CLIP
            squashed = [image.resize((side, side), Image.Resampling.BILINEAR) for image in images]
            return self.processor(squashed, do_resize=False, do_center_crop=False, return_tensors="pt")["pixel_values"]
        squares = [pad_to_square(image, border_color(image)) for image in images]
        return self.processor(squares, return_tensors="pt")["pixel_values"]

    @torch.no_grad()
    def __call__(self, images: Sequence[Image.Image]) -> Tensor:
        """The hidden state of all tokens, class token first: (B, M, E) in the encoder's dtype."""
        pixels = self.pixels(images).to(self.model.device, self.model.dtype)
        if self.hidden_state == "last":
            return self.model(pixel_values=pixels).last_hidden_state
        states = self.model(pixel_values=pixels, output_hidden_states=True).hidden_states
        assert states is not None
        return states[-2]
