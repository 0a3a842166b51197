"""Self-supervised vision transformers for metrics, by transformers.

DINO (Caron et al. 2021, arXiv 2104.14294) and DINOv2 (Oquab et al. 2023, arXiv 2304.07193).
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from refilm.encoders.preprocessing import ImageProcessor, Sides
from refilm.evaluation.encoders.folders import EncoderFolder

DINO = "facebook/dino-vits16"
DINOV2 = "facebook/dinov2-base"
PROCESSOR = ImageProcessor(
    size=Sides(shortest_edge=256), image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]
)
"""The preprocessing of the evaluations of both papers."""


class Vit:
    """The class token of an image after the last norm.

    Args:
        source: a folder in the format of transformers, or `owner/name` in the Hub's cache.
        device: where it runs.

    Raises:
        UserError: the encoder is not there or cannot be loaded; says how to fix it.
    """

    def __init__(self, source: str | Path, device: str):
        from transformers import Dinov2Model, ViTModel  # slow to import

        folder = EncoderFolder(source, kinds=("vit", "dinov2"))
        kind = ViTModel if folder.kind == "vit" else Dinov2Model
        self.model, self.device = folder.model(kind.from_pretrained, device), device
        images = "shortest side 256 pixels, bicubic, center crop of 224 x 224; float32"
        self.identity = {"encoder": folder.identity, "images": images}

    @torch.inference_mode()
    def vectors(self, images: Sequence[Image.Image]) -> Tensor:
        """One vector for each image: -> (B, E)."""
        return self.model(pixel_values=PROCESSOR(images).to(self.device)).last_hidden_state[:, 0]
