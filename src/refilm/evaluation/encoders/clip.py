"""CLIP's image and text encoder for metrics, by transformers (Radford et al. 2021, arXiv 2103.00020)."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from refilm.encoders.preprocessing import ImageProcessor
from refilm.evaluation.encoders.folders import EncoderFolder

CLIP = "openai/clip-vit-base-patch32"
CLIP_LARGE = "openai/clip-vit-large-patch14"
PROCESSOR = ImageProcessor()  # the defaults are CLIP's own: 224 pixels, bicubic, center crop


class Clip:
    """Vectors of images and prompts in CLIP's common space.

    Args:
        source: a folder in the format of transformers, or `owner/name` in the Hub's cache.
        device: where it runs.

    Raises:
        UserError: the encoder is not there or cannot be loaded; says how to fix it.
    """

    def __init__(self, source: str | Path, device: str):
        from transformers import CLIPModel  # slow to import

        self.folder = folder = EncoderFolder(source, kinds=("clip",))
        self.model, self.device = folder.model(CLIPModel.from_pretrained, device), device
        images = "shortest side 224 pixels, bicubic, center crop of 224 x 224; float32"
        self.identity = {"encoder": folder.identity, "images": images}

    @torch.inference_mode()
    def vectors(self, images: Sequence[Image.Image]) -> Tensor:
        """One vector for each image: -> (B, E)."""
        return self.model.get_image_features(pixel_values=PROCESSOR(images).to(self.device)).pooler_output

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer of transformers, which only prompts need."""
        from transformers import CLIPTokenizer

        return self.folder.tokenizer(CLIPTokenizer.from_pretrained)

    @torch.inference_mode()
    def prompt_vectors(self, prompt: str) -> Tensor:
        """The vector of a prompt, of which the first 77 tokens are used: -> (1, E)."""
        tokens = self.tokenizer([prompt], truncation=True, max_length=77, return_tensors="pt").to(self.device)
        return self.model.get_text_features(**tokens).pooler_output
