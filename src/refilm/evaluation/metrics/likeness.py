"""Likeness: how similar each frame is to the subject's images, by the features of an image encoder.

A frame's value is the cosine similarity of its vector to that of each image, averaged over the images (Ruiz et al.
2023, DreamBooth, section 4.1, with other encoders). Values of different encoders cannot be compared with each other.
"""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import ClassVar, Protocol

import numpy as np
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from refilm.errors import UserError
from refilm.evaluation.case import Sample
from refilm.evaluation.encoders.clip import CLIP, Clip
from refilm.evaluation.encoders.efficientnet import ImageFeatures
from refilm.evaluation.encoders.vit import DINO, DINOV2, Vit
from refilm.evaluation.frames import FRAMES, frames_rule, segment, spaced
from refilm.evaluation.metric import Column


class ImageVectors(Protocol):
    """An image encoder."""

    @property
    def identity(self) -> Mapping[str, str]:
        """The encoder, the hash of its weights, and the size and crop of images."""
        ...

    def vectors(self, images: Sequence[Image.Image]) -> Tensor:
        """One vector for each image: (B, E)."""
        ...


class Likeness:
    """What all likeness metrics share; a subclass has an encoder and a column.

    Args:
        encoder: makes a vector of an image.
        frames: number of frames that are scored at most.
    """

    columns: ClassVar[Sequence[Column]]
    SEGMENT: ClassVar[bool] = False
    """Whether only the subject's segment of each frame is compared."""

    def __init__(self, encoder: ImageVectors, frames: int):
        self.encoder, self.frames = encoder, frames
        part = "the subject's segment on gray" if self.SEGMENT else "the full frame"
        self.identity = {**encoder.identity, "frames": frames_rule(frames), "part": part}

    def score(self, sample: Sample) -> Mapping[str, Sequence[float]]:
        """Cosine similarity of each scored frame, -1 to 1; 0 where the mask of the subject is empty.

        Raises:
            UserError: there is no image of the subject, or no mask of the subject if its segment is compared.
        """
        if not sample.subject:
            raise UserError(f"{sample.case.name}: likeness needs an image of the subject")
        parts = self._parts(sample)
        shown = [index for index, part in enumerate(parts) if part is not None]
        values = np.zeros(len(parts))
        if shown:
            subject = self._vectors(self._subject(sample))  # (S, E)
            frames = self._vectors([part for part in parts if part is not None])  # (F, E)
            values[shown] = (frames @ subject.T).mean(1).cpu().numpy()
        return {self.columns[0].name: values.tolist()}

    def _subject(self, sample: Sample) -> list[Image.Image]:
        """The subject's images; their segments where a mask is known and segments are compared."""
        masks = sample.subject_masks if self.SEGMENT else ()
        parts = [None if mask is None else segment(one, mask) for one, mask in zip(sample.subject, masks, strict=False)]
        return [part or Image.fromarray(one) for one, part in zip_longest(sample.subject, parts)]

    def _parts(self, sample: Sample) -> list[Image.Image | None]:
        chosen = spaced(len(sample.frames), self.frames)
        if not self.SEGMENT:
            return [Image.fromarray(frame) for frame in sample.frames[chosen]]
        if sample.masks is None:
            raise UserError(f"{sample.case.name}: the video has no masks of the subject; score the full frame")
        return [segment(sample.frames[index], sample.masks[index]) for index in chosen]

    def _vectors(self, images: Sequence[Image.Image]) -> Tensor:
        return F.normalize(self.encoder.vectors(images).float(), dim=1)


def _column(name: str, encoder: str) -> tuple[Column]:
    return (Column(name, f"Likeness to the subject by {encoder}: cosine similarity, 1 is identical.", worst=0),)


class EfficientNetLikeness(Likeness):
    """Likeness by EfficientNet-Lite0, which no adapter reads and which a package ships."""

    columns = _column("efficientnet_i", "EfficientNet-Lite0 (ImageNet)")

    def __init__(self, device: str = "cpu", *, frames: int = FRAMES):
        super().__init__(ImageFeatures(device), frames)


class EfficientNetSegmentLikeness(EfficientNetLikeness):
    """The same for the subject's segment."""

    columns = _column("efficientnet_i_segment", "EfficientNet-Lite0 (ImageNet), the subject's segment")
    SEGMENT = True


class ClipI(Likeness):
    """CLIP-I (DreamBooth, section 4.1), by CLIP ViT-B/32."""

    columns = _column("clip_i", "CLIP ViT-B/32")

    def __init__(self, device: str = "cpu", *, frames: int = FRAMES, encoder: str = CLIP):
        super().__init__(Clip(encoder, device), frames)


class ClipISegment(ClipI):
    """The same for the subject's segment."""

    columns = _column("clip_i_segment", "CLIP ViT-B/32, the subject's segment")
    SEGMENT = True


class DinoI(Likeness):
    """DINO-I (DreamBooth, section 4.1), by DINO ViT-S/16."""

    columns = _column("dino_i", "DINO ViT-S/16")

    def __init__(self, device: str = "cpu", *, frames: int = FRAMES, encoder: str = DINO):
        super().__init__(Vit(encoder, device), frames)


class DinoISegment(DinoI):
    """The same for the subject's segment."""

    columns = _column("dino_i_segment", "DINO ViT-S/16, the subject's segment")
    SEGMENT = True


class Dinov2I(Likeness):
    """The same measure by DINOv2 ViT-B/14; DreamBooth does not have it."""

    columns = _column("dinov2_i", "DINOv2 ViT-B/14")

    def __init__(self, device: str = "cpu", *, frames: int = FRAMES, encoder: str = DINOV2):
        super().__init__(Vit(encoder, device), frames)


class Dinov2ISegment(Dinov2I):
    """The same for the subject's segment."""

    columns = _column("dinov2_i_segment", "DINOv2 ViT-B/14, the subject's segment")
    SEGMENT = True
