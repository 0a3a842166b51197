"""The cache of encoded clips, created once and read in every epoch: latents, caption embeddings, reference tokens."""

from refilm.data.encoding.encode import EncodeProgress, encode
from refilm.data.encoding.index import Entry
from refilm.data.encoding.keys import EncoderIdentity, identify
from refilm.data.encoding.reading import EncodedClip, EncodedSet, Subset
from refilm.data.encoding.verify import Verification, verify
from refilm.data.settings import EncodeSettings

__all__ = [
    "EncodeProgress",
    "EncodeSettings",
    "EncodedClip",
    "EncodedSet",
    "EncoderIdentity",
    "Entry",
    "Subset",
    "Verification",
    "encode",
    "identify",
    "verify",
]
