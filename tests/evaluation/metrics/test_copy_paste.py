"""The copy-paste index on photographs and critters whose pose and place are known."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from refilm.data import critters
from refilm.errors import UserError
from refilm.evaluation.metrics import create
from refilm.evaluation.metrics.copy_paste import unmoved

from ..samples import photograph, sample

NAMES = ("chelsea", "astronaut", "coffee", "motorcycle_left")


@pytest.fixture(scope="module")
def index():
    metric = create("copy_paste")
    return lambda frame, *subject: float(np.mean(metric.score(sample(frame, *subject))["copy_paste"]))


def damaged(image: np.ndarray) -> np.ndarray:
    """As a video codec would store it."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=30)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("name", NAMES[:2])
def test_a_still_of_the_image_is_1(index, name):
    image = photograph(name)
    assert index(image, image) == pytest.approx(1)
    assert index(damaged(image), image) > 0.95
    assert index((image * 0.7 + 60).clip(0, 255).astype(np.uint8), image) > 0.95


@pytest.mark.parametrize("name", NAMES[1:])
def test_the_subject_elsewhere_or_posed_otherwise_is_low(index, name):
    image = photograph(name)
    assert index(np.roll(image, image.shape[1] // 4, 1), image) < 0.1
    assert index(image[:, ::-1].copy(), image) < 0.3
    assert index(image[40:200, 40:200], image) < 0.5  # closer


def test_a_still_in_another_shape_is_found(index):
    """Padded, cropped or stretched to a wide video."""
    image = photograph("astronaut")
    black = np.zeros((240, 100, 3), np.uint8)
    stretched = np.asarray(Image.fromarray(image).resize((400, 240)))
    for frame in (np.hstack([black, image, black]), image[50:190], stretched):
        assert index(frame, image) > 0.6


def test_another_object_is_low(index):
    cat = photograph("chelsea")
    for name in ("astronaut", "coffee"):
        assert index(photograph(name), cat) < 0.25


def test_one_copied_image_of_several_is_enough(index):
    cat, cup = photograph("chelsea"), photograph("coffee")
    assert index(cat, cup, cat) == pytest.approx(1)


def test_stills_of_critters_are_higher_than_their_clips(index):
    for seed in range(2):
        rng, story = np.random.default_rng(seed), critters.story(1, seed, "held_out")
        image = critters.portrait(story.subject, rng, size=64)
        assert index(np.stack([image] * 2), image) == pytest.approx(1)
        assert index(critters.render(story, rng, size=64)[::8], image) < 0.75


def test_fractions_known_by_hand():
    """Each of 9 x 9 places has a feature of its own."""
    image = torch.eye(81).unflatten(1, (9, 9))
    assert unmoved(image, image) == pytest.approx(1)
    assert unmoved(image, image.roll(1, 2)) == pytest.approx(72 / 81)  # one column wraps around
    assert unmoved(image, image.roll(2, 1)) == 0
    swapped = image.clone()
    swapped[:, 0], swapped[:, 8] = image[:, 8], image[:, 0]
    assert unmoved(image, swapped) == pytest.approx(63 / 81)


def test_places_that_differ_more_count_more():
    image = torch.eye(81).unflatten(1, (9, 9)) * 1.0
    image[:, 0, 0] *= 1000
    moved = image.clone()
    moved[:, 0, 0], moved[:, 8, 8] = image[:, 8, 8], image[:, 0, 0]
    assert unmoved(image, moved) < 0.6  # 79 of 81 places


def test_what_all_places_share_does_not_count():
    torch.manual_seed(0)
    image, shared = torch.randn(16, 9, 9), 5 * torch.randn(16, 1, 1)
    assert unmoved(image + shared, image - shared) == pytest.approx(1)


def test_images_are_needed(index):
    with pytest.raises(UserError, match="case: copy_paste needs an image"):
        index(photograph("chelsea", 60))


def test_a_plain_image_has_no_places_to_find():
    assert unmoved(torch.zeros(3, 4, 4), torch.randn(3, 4, 4)) == 0
