"""Subjects as the image encoder sees them: the tokens of all views, with what identifies images and encoder.

Letters: V views, M tokens of a view, E channels.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Annotated, Self

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from refilm.checkpoints import Base
from refilm.control.subject import NAME, ImageLike, Subject, Word
from refilm.data.encoding.keys import identify_images
from refilm.encoders import ImageEncoder
from refilm.errors import UserError
from refilm.media import as_image, as_mask
from refilm.media.masks import require_white
from refilm.media.preprocessing import ImagePreprocessing
from refilm.weights.fingerprints import fingerprint

AGAIN = "make the subject file again from its images, with this base model and adapter"
THUMBNAIL = 128  # pixels of its longer side
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{32,64}$")]


class SubjectCard(ImagePreprocessing):
    """What is known about an encoded subject."""

    format: Annotated[int, Field(ge=1, le=1000)] = 1
    """Version of the layout of its file."""
    name: Annotated[str, Field(pattern=NAME)]
    """Name of the subject."""
    words: Annotated[tuple[Word, ...], Field(max_length=16)] = ()
    """Words of a prompt that mean the subject."""
    images: Annotated[tuple[Digest, ...], Field(max_length=64)]
    """sha256 of each image's RGB pixels."""
    encoder: Digest
    """Identity of the image encoder: its weights and its preprocessing."""


@dataclass(frozen=True, eq=False)
class EncodedSubject:
    """A subject whose images are encoded. It does not depend on a video, nor on the weights of an adapter."""

    card: SubjectCard
    tokens: Tensor
    """(V, M, E) in the dtype of the image encoder."""
    weight: Tensor
    """(V, M) float32: the weight of each token, 0 where an image does not show the subject."""
    thumbnail: np.ndarray
    """The first image, small: (h, w, 3) uint8."""

    def named(self, name: str) -> Self:
        """The same subject under another name."""
        return replace(self, card=self.card.model_copy(update={"name": name}))


def encode_subject(subject: Subject, encoder: ImageEncoder) -> EncodedSubject:
    """Encode the images of a subject, one by one, so that its tokens do not depend on other images.

    Raises:
        UserError: an image or a mask cannot be read, or a mask does not fit its image.
    """
    images = [as_image(image) for image in subject.images]
    tokens = torch.cat([encoder([image]) for image in images])
    weight = torch.tensor(subject.weights or (1.0,) * len(images))[:, None].expand(tokens.shape[:2])
    if subject.image_masks:
        masks = [_mask_of(image, mask, subject.name) for image, mask in zip(images, subject.image_masks, strict=True)]
        weight = weight * encoder.coverage(masks)
    card = SubjectCard(
        name=subject.name,
        words=subject.words,
        images=tuple(image_hash(image) for image in images),
        encoder=identify_images(encoder, fingerprint),
        **dict(encoder.preprocessing),
    )
    small = images[0].copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return EncodedSubject(card, tokens, weight.contiguous(), np.asarray(small))


def identity_of(subject: Subject) -> tuple[object, ...]:
    """Equal for subjects that `encode_subject` encodes alike: the content of their files counts, not the paths.

    Raises:
        UserError: an image or a mask cannot be read.
    """
    images = tuple(image_hash(as_image(image)) for image in subject.images)
    masks = tuple((pixels.shape, pixels.tobytes()) for pixels in map(as_mask, subject.image_masks))
    return subject.name, subject.words, subject.weights, images, masks


def _mask_of(image: Image.Image, mask: ImageLike, name: str) -> Image.Image:
    pixels = as_mask(mask)
    if pixels.shape != (1, image.height, image.width):
        frames, height, width = pixels.shape
        raise UserError(
            f"{name}: an image of {image.width} x {image.height} has a mask of {width} x {height}"
            f"{f' in {frames} frames' if frames > 1 else ''}; use masks of the same size as their images"
        )
    require_white(pixels, f"{name}: the mask of an image")
    return Image.fromarray(pixels[0])


def image_hash(image: Image.Image) -> str:
    """sha256 of an image's size and RGB pixels."""
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()


def require_reader(subject: EncodedSubject, base: Base, *, name: str) -> None:
    """Check that the adapter of a base model reads the tokens of a subject's image encoder.

    Raises:
        UserError: it reads images otherwise; names both ways.
    """
    own = base.preprocessing
    for setting in ("image_fit", "hidden_state"):
        made, read = getattr(subject.card, setting), getattr(own, setting)
        if made != read:
            raise UserError(f"{name}: was made with {setting} {made!r}, this adapter reads {read!r}; {AGAIN}")
    width = subject.tokens.shape[-1]
    if base.attached is not None and width != (needed := base.attached.size.reference_dim):
        raise UserError(f"{name}: its tokens have {width} channels, this adapter needs {needed}; {AGAIN}")
    if not base.image_encoder_is_local:  # comparing the weights is not worth a download
        return
    if identify_images(base.encoders.unread.image, fingerprint) != subject.card.encoder:
        raise UserError(f"{name}: was made with another image encoder than that of this adapter; {AGAIN}")
