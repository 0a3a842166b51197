"""CLIP's image preprocessing: resizing, cropping, normalizing. Computes what transformers computes with Pillow."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from refilm.errors import UserError
from refilm.weights.configs import Config, Small

Side = Annotated[int, Field(ge=1, le=4096)]
Channels = Annotated[list[Annotated[float, Field(ge=-1e3, le=1e3)]], Field(min_length=3, max_length=3)]


class Sides(Config):
    """A size in pixels."""

    shortest_edge: Side | None = None
    height: Side | None = None
    width: Side | None = None


class ImageProcessor(Config):
    """An image processor: the content of `preprocessor_config.json`, with the defaults of transformers."""

    image_processor_type: Literal["CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil"] = (
        "CLIPImageProcessor"
    )
    feature_extractor_type: Literal["CLIPFeatureExtractor"] | None = None
    crop_size: Sides = Sides(height=224, width=224)
    size: Sides = Sides(shortest_edge=224)
    do_center_crop: bool = True
    do_convert_rgb: bool = True
    do_normalize: bool = True
    do_rescale: bool = True
    do_resize: bool = True
    image_mean: Channels = Field(default=[0.48145466, 0.4578275, 0.40821073])
    image_std: Channels = Field(default=[0.26862954, 0.26130258, 0.27577711])
    resample: Annotated[int, Field(ge=0, le=5)] = 3
    """Pillow's number of a filter; 3 is bicubic."""
    rescale_factor: Small = 1 / 255

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {key: value for key, value in values.items() if value is not None}

    @field_validator("size", mode="before")
    @classmethod
    def _shortest_edge(cls, value: Any) -> Any:
        return {"shortest_edge": value} if isinstance(value, int) else value

    @field_validator("crop_size", mode="before")
    @classmethod
    def _square(cls, value: Any) -> Any:
        return {"height": value, "width": value} if isinstance(value, int) else value

    @model_validator(mode="after")
    def _possible(self) -> "ImageProcessor":
        if not all(self.image_std):
            raise UserError("image_std: must not be 0")
        if self.size.shortest_edge is None and None in (self.size.height, self.size.width):
            raise UserError("size: must have shortest_edge, or height and width")
        if None in (self.crop_size.height, self.crop_size.width):
            raise UserError("crop_size: must have height and width")
        return self

    @property
    def result(self) -> tuple[int | None, int | None]:
        """Height and width of the result for a square image; None: as the image."""
        if self.do_center_crop:
            return self.crop_size.height, self.crop_size.width
        if not self.do_resize:
            return None, None
        return self.size.shortest_edge or self.size.height, self.size.shortest_edge or self.size.width

    def to_dict(self) -> dict[str, Any]:
        """All values, in the form in which transformers writes them."""
        values = self.model_dump(mode="json", exclude={"feature_extractor_type"}, exclude_none=True)
        return values | {"image_processor_type": "CLIPImageProcessor"}

    def __call__(self, images: Sequence[Image.Image]) -> Tensor:
        """Resize, crop and normalize RGB images: -> (B, 3, H, W)."""
        return self.normalized([self._cropped(self._resized(image.convert("RGB"))) for image in images])

    def normalized(self, images: Sequence[Image.Image]) -> Tensor:
        """Normalize RGB images of one size: -> (B, 3, H, W)."""
        pixels = np.stack([np.asarray(image) for image in images])  # (B, H, W, 3)
        values = (pixels * self.rescale_factor if self.do_rescale else pixels).astype(np.float32)
        if self.do_normalize:
            mean, std = (np.asarray(one, np.float32) for one in (self.image_mean, self.image_std))
            values = (values - mean) / std
        return torch.from_numpy(values).permute(0, 3, 1, 2).contiguous()

    def _resized(self, image: Image.Image) -> Image.Image:
        if not self.do_resize:
            return image
        short, smaller = self.size.shortest_edge, min(image.size)
        if short is None:
            width, height = self.size.width or 0, self.size.height or 0
        else:
            width, height = (short if side == smaller else int(short * side / smaller) for side in image.size)
        return image.resize((width, height), Image.Resampling(self.resample))

    def _cropped(self, image: Image.Image) -> Image.Image:
        if not self.do_center_crop:
            return image
        height, width = self.crop_size.height or 0, self.crop_size.width or 0
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return image.crop((left, top, left + width, top + height))  # black outside of the image
