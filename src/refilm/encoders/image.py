"""Encoding of reference images to CLIP tokens. An image keeps its aspect ratio: it is padded to a square.

It is squashed to a square only for adapters that were trained that way.
"""

from collections.abc import Sequence

import torch
from einops import reduce
from PIL import Image
from torch import Tensor

from refilm.encoders.clip import ClipVision
from refilm.encoders.preprocessing import ImageProcessor
from refilm.errors import UserError
from refilm.media import border_color, pad_to_square
from refilm.media.colors import BLACK, Color
from refilm.media.preprocessing import BASE_PREPROCESSING, ImagePreprocessing


class ImageEncoder:
    """A CLIP vision tower with its image processor.

    Args:
        processor: resizes and normalizes.
        model: the vision tower.
        preprocessing: how an image becomes a square, and the hidden state used as tokens.

    Raises:
        UserError: the processor's images do not have the size that the vision tower takes.
    """

    def __init__(
        self,
        processor: ImageProcessor,
        model: ClipVision,
        preprocessing: ImagePreprocessing = BASE_PREPROCESSING,
    ):
        side = model.config.image_size
        if preprocessing.image_fit == "pad" and processor.result != (side, side):
            made = " x ".join(str(one or "any") for one in processor.result)
            raise UserError(
                f"the image processor makes images of {made} pixels, the image encoder takes {side} x {side}; use the "
                "processor that belongs to the encoder"
            )
        self.processor, self.model, self.preprocessing = processor, model, preprocessing

    @property
    def width(self) -> int:
        """Channels per token, E."""
        return self.model.config.hidden_size

    def pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """Preprocess images to (B, 3, H, W): square, resized and normalized."""
        return self._processed([(image, border_color(image)) for image in images])

    def shown(self, images: Sequence[Image.Image], *, ground: Color | None = None) -> Tensor:
        """Images as the encoder sees them, (B, 3, H, W) in 0..1, padded with `ground` or their border color."""
        mean, std = (
            torch.tensor(values).view(3, 1, 1) for values in (self.processor.image_mean, self.processor.image_std)
        )
        squares = self._processed([(image, ground or border_color(image)) for image in images])
        return (squares * std + mean).clamp(0, 1)

    def coverage(self, masks: Sequence[Image.Image]) -> Tensor:
        """The fraction of each token's patch that a mask covers, (B, M); 1 for the class token.

        Args:
            masks: in the shape of their images, white where the subject is.
        """
        patch = self.model.config.patch_size
        white = self.shown([mask.convert("RGB") for mask in masks], ground=BLACK).mean(dim=1)  # (B, H, W)
        patches = reduce(white, "b (h p) (w q) -> b (h w)", "mean", p=patch, q=patch)
        return torch.cat([torch.ones(len(masks), 1), patches], dim=1)

    def _processed(self, images: Sequence[tuple[Image.Image, Color]]) -> Tensor:
        if self.preprocessing.image_fit == "squash-bilinear":
            side = self.model.config.image_size
            squashed = [image.resize((side, side), Image.Resampling.BILINEAR) for image, _ in images]
            return self.processor.normalized(squashed)
        return self.processor([pad_to_square(image, ground) for image, ground in images])

    @torch.no_grad()
    def __call__(self, images: Sequence[Image.Image]) -> Tensor:
        """The hidden state of all tokens, class token first: (B, M, E) in the encoder's dtype."""
        weight = self.model.embeddings.class_embedding
        pixels = self.pixels(images).to(weight.device, weight.dtype)
        return self.model(pixels, skipped=0 if self.preprocessing.hidden_state == "last" else 1)
