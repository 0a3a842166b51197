"""Keys: what an encoding was made of, as a digest. Equal keys mean equal encodings, whoever made them and when.

The latents, the text and the references of a clip have keys of their own, so that a new caption leaves the
latents as they are, and clips that share an image or a caption share its encoding. Knows no files: what a
video or an image is, its `identity` says (see `data.samples`).
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from refilm.data.encoding.settings import EncodeSettings
from refilm.data.samples import Clip, ImageSource
from refilm.encoders import Encoders

VERSION = 2  # of the recipe by which encodings are made: another number makes all of them anew
DIGITS = 32


@dataclass(frozen=True)
class EncoderIdentity:
    """Tells the three encoders, set up as they are, from any others."""

    latents: str
    text: str
    references: str


def identify(encoders: Encoders, fingerprint: Callable[[nn.Module], str]) -> EncoderIdentity:
    """The encoders' weights, by `fingerprint`, and what beside the weights decides their output.

    Of the weights only what `fingerprint` samples is read.
    """
    encoders = encoders.unread
    autoencoder = encoders.autoencoder
    latents = (fingerprint(autoencoder.model), autoencoder.model.config["scaling_factor"])
    text = encoders.text
    words = sorted(text.tokenizer.get_vocab().items())
    spoken = (fingerprint(text.model), text.length, words)
    image = encoders.image
    seen = (fingerprint(image.model), image.hidden_state, image.fit, image.processor.to_dict())
    return EncoderIdentity(digest(*latents), digest(*spoken), digest(*seen))


def digest(*parts: object) -> str:
    """A digest of plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:DIGITS]


def latents_key(clip: Clip, mask: Clip | None, settings: EncodeSettings, encoder: EncoderIdentity) -> str:
    """Of a clip's latents, with the mask where there is one."""
    made = (settings.frames, settings.fps, settings.height, settings.width, settings.buckets)
    masked = mask.identity if mask else None
    background = settings.background if masked else None
    return digest("latents", VERSION, clip.identity, masked, background, made, encoder.latents)


def text_key(caption: str, encoder: EncoderIdentity) -> str:
    """Of a caption's embeddings."""
    return digest("text", VERSION, caption, encoder.text)


def references_key(image: ImageSource, settings: EncodeSettings, encoder: EncoderIdentity) -> str:
    """Of the tokens of an image and of its views."""
    views = settings.views.model_dump(mode="json") if settings.views.count else None
    return digest("references", VERSION, image.identity, views, settings.background, encoder.references)
