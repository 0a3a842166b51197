"""Copies match, other images do not, and the bands find every pair that comparing all pairs finds."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from refilm.data.checking.hashes import ImageHash, image_hashes, near_duplicates, similar
from refilm.media.inspecting import tiny_image

from .damaged import image as drawn


def look(image: Image.Image) -> ImageHash:
    return image_hashes(tiny_image(image)[None])[0]


def compressed(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=50)
    return Image.open(buffer)


@pytest.mark.parametrize("seed", range(5))
def test_copies_look_the_same_and_others_do_not(seed):
    image = drawn(seed)
    for copy in (image.resize((300, 200)), compressed(image), image.point(lambda level: min(255, level + 6))):
        assert similar(look(image), look(copy))
    crop = image.crop((24, 16, 72, 48))
    for other in (drawn(seed + 100), ImageOps.mirror(image), crop, ImageOps.invert(image), image.rotate(90)):
        assert not similar(look(image), look(other))
    assert not similar(look(Image.new("RGB", (9, 9), "red")), look(Image.new("RGB", (9, 9), "green")))


def test_bands_find_all_that_are_near():
    rng = np.random.default_rng(0)
    base = [int.from_bytes(rng.bytes(8)) for _ in range(40)]
    near = [code ^ sum(1 << int(bit) for bit in rng.choice(64, rng.integers(4), replace=False)) for code in base]
    items = [(number, (ImageHash(code, bytes(216)),)) for number, code in enumerate(base + near)]
    assert dict(near_duplicates(items)) == {number + 40: number for number in range(40)}
