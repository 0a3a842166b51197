"""Keys are the same in every version: caches are found again, and runs can be resumed."""

from refilm.data.drawn import Critters
from refilm.data.encoding import EncoderIdentity
from refilm.data.encoding.keys import latents_key, references_key
from refilm.data.settings import AugmentationSettings, EncodeSettings

ENCODERS = EncoderIdentity("latents", "text", "references")


def test_keys_of_critters_are_those_of_version_0_1():
    sample = Critters(9, seed=3)[5]
    image, augmented = sample.references[1], EncodeSettings(views=AugmentationSettings(count=2))
    assert latents_key(sample.clip, None, EncodeSettings(), ENCODERS) == "09aed717ce808e8c72a55c6152174917"
    assert references_key(image, EncodeSettings(), ENCODERS) == "4f196f0fc7eb9ce93a054b9d0da9f4f6"
    assert references_key(image, augmented, ENCODERS) == "467c0ee212256eb6d7a541e08d9eae34"
