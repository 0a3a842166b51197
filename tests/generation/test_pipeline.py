import numpy as np
import pytest
from PIL import Image

import refilm
from refilm.data import critters
from refilm.generation import Pipeline


@pytest.fixture(scope="module")
def pipeline(tiny_base) -> Pipeline:
    return refilm.load(tiny_base)


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    subject = critters.subjects("held_out")[0]
    return Image.fromarray(critters.portrait(subject, np.random.default_rng(0), size=96))


PROMPT = "a critter bounces in the meadow"


def test_a_film_is_a_function_of_its_seed_and_not_of_its_batch(pipeline, picture):
    alone = pipeline.generate(PROMPT, picture, seed=7)
    assert alone.frames.shape == (17, 32, 32, 3)
    assert np.array_equal(alone.frames, pipeline.generate(PROMPT, picture, seed=7).frames)
    assert not np.array_equal(alone.frames, pipeline.generate(PROMPT, picture, seed=8).frames)
    _, second = pipeline.generate_batch(["a critter waits at night", PROMPT], [picture, picture], seeds=[1, 7])
    difference = np.abs(alone.frames.astype(int) - second.frames.astype(int))
    assert difference.max() <= 2  # other batch sizes sum in another order


def test_the_reference_counts_and_scale_0_is_no_reference(pipeline, picture):
    without = pipeline.generate(PROMPT, seed=7).frames
    assert np.array_equal(without, pipeline.generate(PROMPT, picture, seed=7, reference_scale=0.0).frames)
    assert not np.array_equal(without, pipeline.generate(PROMPT, picture, seed=7).frames)
    other = Image.fromarray(np.asarray(picture)[..., ::-1].copy())
    assert not np.array_equal(
        pipeline.generate(PROMPT, picture, seed=7).frames, pipeline.generate(PROMPT, other, seed=7).frames
    )


def test_other_sizes_lengths_and_samplers(pipeline, picture):
    film = pipeline.generate(PROMPT, picture, seed=1, frames=9, height=24, width=40, steps=2, sampler="ddim")
    assert film.frames.shape == (9, 24, 40, 3)
    assert pipeline.generate(PROMPT, picture, seed=1, frames=1, steps=2).frames.shape == (1, 32, 32, 3)
    assert pipeline.generate(PROMPT, picture, seed=1, frames=13, steps=2).frames.shape == (13, 32, 32, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 10}, r"10 frames: the number must be 4k \+ 1, for instance 9 or 13"),
        ({"height": 30}, r"a size of 30 x 32 pixels: both must be multiples of 8"),
        ({"steps": 0}, r"steps: .*greater than or equal to 1 \(received 0\)"),
        ({"guidance": float("nan")}, r"guidance: .*received nan"),
        ({"sampler": "euler"}, r"sampler: .*'dpmpp-2m-sde' or 'ddim' \(received 'euler'\)"),
        ({"colour": 1}, r"colour: Extra inputs are not permitted"),
    ],
)
def test_impossible_settings_are_refused_in_words(pipeline, picture, settings, message):
    with pytest.raises(ValueError, match=message):
        pipeline.generate(PROMPT, picture, seed=1, **settings)


def test_a_reference_needs_an_adapter(tiny_base, picture):
    bare = refilm.load(tiny_base, adapter=None)
    assert bare.generate(PROMPT, seed=1, steps=1).frames.shape == (17, 32, 32, 3)
    with pytest.raises(ValueError, match="no adapter is loaded"):
        bare.generate(PROMPT, picture, seed=1)
    with pytest.raises(ValueError, match="a reference for every prompt, or for none"):
        bare.generate_batch([PROMPT, PROMPT], [picture, None], seeds=[1, 2])


def test_unknown_bases_devices_and_dtypes_are_refused(tiny_base, tmp_path):
    with pytest.raises(ValueError, match="unknown base model 'giant'"):
        refilm.load("giant")
    with pytest.raises(ValueError, match="device 'toaster' cannot be used here"):
        refilm.load(tiny_base, device="toaster")
    with pytest.raises(ValueError, match="unknown dtype 'int8'"):
        refilm.load(tiny_base, dtype="int8")
    with pytest.raises(ValueError, match=str(tmp_path)):
        refilm.load(tiny_base, adapter=tmp_path)
