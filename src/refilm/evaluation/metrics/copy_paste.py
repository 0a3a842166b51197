"""Copy-paste: whether a video repeats the image's pose and place, instead of showing the subject anew.

Likeness is highest for a still of the reference, which nobody wants. This index tells it from a video of the subject:
the features of each place in the image are searched in the whole frame, and it counts how many are found just where
they were. The measure is refilm's own; its encoder is EfficientNet-Lite0, in the middle of the network, where
features still know parts and their orientation.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from refilm.errors import UserError
from refilm.evaluation.case import Sample
from refilm.evaluation.encoders.efficientnet import ImageFeatures
from refilm.evaluation.frames import FRAMES, frames_rule, spaced
from refilm.evaluation.metric import Column
from refilm.media import border_color

NEAR = 1
"""A place is found again where it was if the best match is at most this many places away, in both directions."""


class CopyPaste:
    """The fraction of the image's places whose best match in a frame lies at the same place.

    A place is 16 x 16 pixels of the image or frame at 224 pixels on the shorter side. Its features are compared as
    differences from the image's mean, by cosine similarity; each counts by the length of the difference, so that empty
    background counts little. The image is brought to the frame's shape in three ways: stretched, cropped, padded.
    The image and the way with the largest fraction count.

    Args:
        device: device of the encoder.
        frames: number of frames that are scored at most.

    Raises:
        UserError: the package of the encoder is not installed.
    """

    columns: ClassVar[Sequence[Column]] = (
        Column(
            "copy_paste",
            "Fraction of the image's places that the video shows unmoved: 1 for a still of the image.",
            worst=1,
            higher=False,
        ),
    )

    def __init__(self, device: str = "cpu", *, frames: int = FRAMES):
        self.encoder, self.frames = ImageFeatures(device), frames
        self.identity = {
            **self.encoder.identity,
            "frames": frames_rule(frames),
            "places": f"16 x 16 pixels; best match at most {NEAR} away; the image stretched, cropped or padded",
        }

    def score(self, sample: Sample) -> Mapping[str, Sequence[float]]:
        """The fraction for each scored frame, 0 to 1.

        Raises:
            UserError: there is no image of the subject.
        """
        if not sample.subject:
            raise UserError(f"{sample.case.name}: copy_paste needs an image of the subject")
        chosen = sample.frames[spaced(len(sample.frames), self.frames)]
        frames = [self.encoder.map(Image.fromarray(frame)) for frame in chosen]
        size = chosen.shape[2], chosen.shape[1]
        images = [self.encoder.map(fit) for image in sample.subject for fit in fits(Image.fromarray(image), size)]
        return {"copy_paste": [max(unmoved(image, frame) for image in images) for frame in frames]}


def fits(image: Image.Image, size: tuple[int, int]) -> list[Image.Image]:
    """An image in a frame's size, (width, height): stretched, cropped, and padded with its border's color."""
    return [
        image.resize(size, Image.Resampling.BICUBIC),
        ImageOps.fit(image, size, Image.Resampling.BICUBIC),
        ImageOps.pad(image, size, Image.Resampling.BICUBIC, color=border_color(image)),
    ]


def unmoved(image: Tensor, frame: Tensor) -> float:
    """The fraction of the image's places that are found unmoved in the frame, 0 to 1.

    Args:
        image: features of each place, (C, H, W).
        frame: the same for the frame.
    """
    width = image.shape[2]
    here, there = (one.flatten(1).T for one in (image, frame))  # (H W, C)
    here, there = here - here.mean(0), there - there.mean(0)
    best = (F.normalize(here, dim=1) @ F.normalize(there, dim=1).T).argmax(1)  # (H W)
    place = torch.arange(len(here), device=best.device)
    near = ((best // width - place // width).abs() <= NEAR) & ((best % width - place % width).abs() <= NEAR)
    weight = here.norm(dim=1)
    return float((near * weight).sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny))
