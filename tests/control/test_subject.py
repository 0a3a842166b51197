"""What a subject accepts, and how bad ones are refused."""

import numpy as np
import pytest
from PIL import Image

from refilm import Subject
from refilm.errors import UserError

GRAY = np.full((8, 8, 3), 128, np.uint8)


def test_one_image_needs_no_list():
    for image in (GRAY, Image.fromarray(GRAY), "fox.png"):
        assert len(Subject(images=image).images) == 1
    assert Subject(images=["a.png", "b.png"], words="fox").words == ("fox",)


def test_images_can_be_given_first():
    assert Subject("fox.png") == Subject(["fox.png"]) == Subject(images="fox.png")
    assert Subject("a.png", "b.png", scale=0.5) == Subject(images=("a.png", "b.png"), scale=0.5)
    with pytest.raises(UserError, match="images: given twice"):
        Subject("a.png", images="b.png")


def test_subjects_with_images_in_memory_are_compared():
    one = Subject(GRAY, mask=GRAY[..., 0])
    assert one == Subject(GRAY, mask=one.mask)
    assert one != Subject(GRAY.copy(), mask=one.mask)
    assert len({one, Subject(GRAY, mask=one.mask), Subject("a.png")}) == 2
    assert one != "a.png"


def test_nothing_is_the_default():
    assert Subject("a.png", weights=None, words=None, image_masks=None) == Subject("a.png")
    assert Subject("a.png", weights=2.0).weights == (2.0,)


def test_settings_cannot_be_changed():
    with pytest.raises(UserError, match=r"Subject\.scale: settings cannot be changed; create new ones"):
        Subject("a.png").scale = 2.0


def test_plain_values_are_read_as_in_a_recipe():
    values = {
        "name": "fox",
        "images": ["a.png"],
        "words": ["fox"],
        "scale": 0.5,
        "frames": "1:0 9:1",
        "steps": [1, 0.5],
    }
    subject = Subject.from_values(values)
    assert subject == Subject(name="fox", images="a.png", words="fox", scale=0.5, frames="1:0 9:1", steps=(1.0, 0.5))
    assert Subject.from_values(subject.to_values()) == subject


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "^subject: give images or a subject file, and not both"),
        ({"images": "a.png", "file": "a.subject"}, "give images or a subject file, and not both"),
        ({"images": "a.png", "weights": (1.0, 2.0)}, "weights: 2 for 1 images; give one for each image"),
        ({"images": ("a.png", "b.png"), "image_masks": "m.png"}, "image_masks: 1 for 2 images"),
        ({"file": "a.subject", "weights": (1.0,)}, "a subject file stores its own"),
        ({"images": "a.png", "weights": (0.0,)}, "weights.0: Input should be greater than 0"),
        ({"images": "a.png", "scale": -1}, "scale: Input should be greater than or equal to 0"),
        ({"images": "a.png", "name": "two words"}, "name: .*pattern"),
        ({"images": "a.png", "words": ""}, "words.0: names no subject; give a noun"),
        ({"images": "a.png", "words": "The"}, "words.0: names no subject; give a noun"),
        ({"images": "a.png", "words": "fox\x1b[2J"}, "words.0: contains control characters; remove them"),
        ({"images": "a.png", "mask": 3}, "mask: an image must be a path, a PIL image or a numpy array"),
        ({"images": "a.png", "mask": ""}, "mask: is empty; give the path of an image"),
        ({"images": ["a.png", False]}, "images.1: an image must be a path, a PIL image or a numpy array"),
        ({"images": "a.png", "steps": "9-5"}, "steps: places must rise"),
        ({"images": "a.png", "strength": 2}, "strength: unknown"),
    ],
)
def test_bad_subjects_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        Subject.from_values(values)
