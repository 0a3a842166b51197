"""Augmentation of reference images: it stays within the configured limits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from refilm.data import critters
from refilm.data.augmentation import augment, cut_out
from refilm.data.settings import AugmentationSettings
from refilm.media import border_color

GROUND = (12, 200, 90)
STILL = AugmentationSettings(scale=(1, 1), shift=0, rotation=0, color=0)


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    subject = critters.subjects("train")[7]
    return Image.fromarray(critters.portrait(subject, np.random.default_rng(3), size=128)).crop((0, 0, 128, 96))


def disc(width: int, height: int, radius: float) -> Image.Image:
    """A red disc in the middle of `GROUND`."""
    image = Image.new("RGB", (width, height), GROUND)
    x, y = width / 2 - 0.5, height / 2 - 0.5
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill=(220, 20, 20))
    return image


def seen(image: Image.Image) -> np.ndarray:
    """Where the disc is: (H, W) of bool."""
    pixels = np.asarray(image, dtype=int)
    return pixels[..., 0] > pixels[..., 1]


def test_settings_that_change_nothing_give_the_image_back(portrait):
    assert np.array_equal(augment(portrait, STILL, np.random.default_rng(0), GROUND), portrait)


def test_a_view_is_its_draw(portrait):
    settings = AugmentationSettings(flip=True)
    first, again, other = (
        np.asarray(augment(portrait, settings, np.random.default_rng(seed), border_color(portrait)))
        for seed in (5, 5, 6)
    )
    assert np.array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 1
    rng = np.random.default_rng(5)
    augment(portrait, STILL, rng, GROUND)
    after = np.asarray(augment(portrait, settings, rng, GROUND))
    rng = np.random.default_rng(5)
    augment(portrait, settings, rng, GROUND)
    assert np.array_equal(after, augment(portrait, settings, rng, GROUND))  # settings do not move later draws


@given(
    scale=st.floats(0.3, 0.99),
    shift=st.floats(0, 0.5),
    rotation=st.floats(0, 180),
    flip=st.booleans(),
    n=st.integers(0),
)
def test_what_is_made_smaller_stays_whole(scale, shift, rotation, flip, n):
    image = disc(90, 70, 34)
    settings = AugmentationSettings(scale=(scale, scale), shift=shift, rotation=rotation, color=0, flip=flip)
    made = augment(image, settings, np.random.default_rng(n), GROUND)
    assert made.size == image.size
    assert seen(made).sum() == pytest.approx(scale**2 * seen(image).sum(), rel=0.1)


@given(low=st.floats(0.5, 1.5), more=st.floats(0, 0.5), n=st.integers(0))
def test_scales_lie_in_their_range(low, more, n):
    image = disc(96, 96, 20)
    settings = AugmentationSettings(scale=(low, low + more), shift=0, color=0)
    scale = math.sqrt(seen(augment(image, settings, np.random.default_rng(n), GROUND)).sum() / seen(image).sum())
    assert low - 0.05 <= scale <= low + more + 0.05


@given(shift=st.floats(0, 0.2), n=st.integers(0))
def test_shifts_reach_as_far_as_their_share_of_each_side(shift, n):
    settings = AugmentationSettings(scale=(1, 1), shift=shift, rotation=0, color=0)
    image = disc(120, 80, 12)
    (rows, columns), (top, left) = (
        np.nonzero(seen(made)) for made in (augment(image, settings, np.random.default_rng(n), GROUND), image)
    )
    assert abs(columns.mean() - left.mean()) <= shift * 120 + 0.5
    assert abs(rows.mean() - top.mean()) <= shift * 80 + 0.5


def test_turns_go_both_ways_and_no_farther():
    bar = Image.new("RGB", (101, 101), GROUND)
    bar.paste((220, 20, 20), (10, 47, 91, 54))
    angles = []
    for n in range(60):
        made = seen(augment(bar, STILL.model_copy(update={"rotation": 15}), np.random.default_rng(n), GROUND))
        rows, columns = np.nonzero(made)
        angles.append(math.degrees(math.atan(np.polyfit(columns, rows, 1)[0])))
    assert -15.5 < min(angles) < -12
    assert 12 < max(angles) < 15.5


def test_mirrors_only_when_allowed(portrait):
    upright, mirrored = np.asarray(portrait), np.asarray(portrait)[:, ::-1]
    for flip, expected in ((False, {"upright"}), (True, {"upright", "mirrored"})):
        kinds = set()
        for n in range(12):
            made = augment(portrait, STILL.model_copy(update={"flip": flip}), np.random.default_rng(n), GROUND)
            assert np.array_equal(made, upright) or np.array_equal(made, mirrored)
            kinds.add("upright" if np.array_equal(made, upright) else "mirrored")
        assert kinds == expected


@given(color=st.floats(0, 0.5), n=st.integers(0))
def test_colors_change_by_their_share(color, n):
    """Grays stay gray, within brightness and contrast; strong colors keep their kind."""
    grays = Image.fromarray(np.arange(60, 190, dtype=np.uint8)[None, :, None].repeat(3, 2).repeat(2, 0))
    settings = STILL.model_copy(update={"color": color})
    made = np.asarray(augment(grays, settings, np.random.default_rng(n), GROUND), dtype=float)
    assert np.ptp(made, axis=2).max() == 0
    mean = made.mean()
    assert 124.5 * (1 - color) - 1 <= mean <= 124.5 * (1 + color) + 1
    contrast = (np.ptp(made) + 1) / 130 / (mean / 124.5)
    assert made.max() == 255 or 1 - color - 0.05 <= contrast <= 1 + color + 0.05
    red = Image.new("RGB", (2, 2), (200, 60, 60))
    pixel = augment(red, settings, np.random.default_rng(n), GROUND).getpixel((0, 0))
    assert isinstance(pixel, tuple)
    assert pixel[0] == max(pixel)


@pytest.mark.parametrize(
    "nonsense",
    [{"scale": (1.5, 0.8)}, {"scale": (0, 1)}, {"shift": 0.6}, {"rotation": -1}, {"color": 1}, {"count": -1}],
)
def test_nonsense_is_refused_when_made(nonsense):
    with pytest.raises(ValueError, match=next(iter(nonsense))):
        AugmentationSettings(**nonsense)


def test_a_subject_is_cut_out_where_it_is(portrait):
    mask = Image.new("L", portrait.size)
    mask.paste(255, (20, 10, 60, 50))
    made = np.asarray(cut_out(portrait, mask, GROUND))
    assert np.array_equal(made[10:50, 20:60], np.asarray(portrait)[10:50, 20:60])
    made = made.copy()
    made[10:50, 20:60] = GROUND
    assert (made == GROUND).all()


def test_a_mask_of_another_size_must_have_the_same_shape(portrait):
    mask = Image.new("L", (64, 48))
    mask.paste(255, (10, 5, 30, 25))
    made = np.asarray(cut_out(portrait, mask, GROUND))
    assert np.array_equal(made[14:46, 24:56], np.asarray(portrait)[14:46, 24:56])
    assert (made[60:] == GROUND).all()
    assert cut_out(portrait.crop((0, 0, 127, 95)), Image.new("L", (32, 24), 255), GROUND).size == (127, 95)
    with pytest.raises(ValueError, match="mask has 96 x 128 pixels and the image 128 x 96; use a mask with the"):
        cut_out(portrait, Image.new("L", (96, 128), 255), GROUND)
    with pytest.raises(ValueError, match="black everywhere; paint it white"):
        cut_out(portrait, Image.new("L", (64, 48)), GROUND)
