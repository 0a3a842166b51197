"""Cache keys: digests of everything that determines an encoding. Equal keys mean equal encodings.

Latents, text and references of a clip have separate keys, so a new caption does not invalidate the latents, and clips
with the same image or caption share its encoding. Does not access files: the `identity` of a video or image
identifies its content (see `data.samples`).
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from refilm.data.samples import Clip, ImageSource
from refilm.data.settings import EncodeSettings
from refilm.encoders import Encoders, ImageEncoder

VERSION = 2  # version of the encoding procedure; changing it invalidates all encodings
DIGITS = 32


@dataclass(frozen=True)
class EncoderIdentity:
    """Identifies the three encoders and their configuration."""

    latents: str
    text: str
    references: str


def identify(encoders: Encoders, fingerprint: Callable[[nn.Module], str]) -> EncoderIdentity:
    """Identify the encoders by the `fingerprint` of their weights and by the settings that affect their output.

    Only the weights that `fingerprint` samples are read.
    """
    encoders = encoders.unread
    autoencoder = encoders.autoencoder
    latents: tuple[object, ...] = (fingerprint(autoencoder.model), *autoencoder.scaling)
    if (repeated := autoencoder.compression.patch_time) > 1:
        latents = (*latents, {"patch_time": repeated})
    text = encoders.text
    spoken = (fingerprint(text.model), text.length, text.vocabulary)
    return EncoderIdentity(digest(*latents), digest(*spoken), identify_images(encoders.image, fingerprint))


def identify_images(encoder: ImageEncoder, fingerprint: Callable[[nn.Module], str]) -> str:
    """Identify an image encoder by the `fingerprint` of its weights and by the settings that affect its output."""
    how = encoder.preprocessing
    return digest(fingerprint(encoder.model), how.hidden_state, how.image_fit, encoder.processor.to_dict())


def digest(*parts: object) -> str:
    """A digest of plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:DIGITS]


def latents_key(clip: Clip, mask: Clip | None, settings: EncodeSettings, encoder: EncoderIdentity) -> str:
    """The key of a clip's latents and, if present, its mask."""
    length = () if clip.still else (settings.frames, settings.fps)
    made = (*length, settings.height, settings.width, settings.buckets)
    masked = mask.identity if mask else None
    background = settings.background if masked else None
    return digest("latents", VERSION, clip.identity, masked, background, made, encoder.latents)


def text_key(caption: str, encoder: EncoderIdentity) -> str:
    """The key of a caption's embeddings."""
    return digest("text", VERSION, caption, encoder.text)


def references_key(image: ImageSource, settings: EncodeSettings, encoder: EncoderIdentity) -> str:
    """The key of the tokens of an image and its augmented versions."""
    views = settings.views.model_dump(mode="json") if settings.views.count else None
    return digest("references", VERSION, image.identity, views, settings.background, encoder.references)
