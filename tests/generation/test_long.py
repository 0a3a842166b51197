"""Videos longer than the model's, in overlapping windows, in every family."""

import numpy as np
import pytest
import torch
from PIL import Image

import refilm
from refilm import Subject
from refilm.data import critters
from refilm.diffusion import Windows, windowed
from refilm.errors import UserError
from refilm.generation import AttentionMaps, Pipeline
from refilm.generation.long import windows_of
from refilm.geometry import AdapterSize
from refilm.model import Adapter

from ..model.tiny import adapter, inputs, transformer, wild

PROMPT = "a critter bounces in the meadow"


@pytest.fixture(scope="module")
def image():
    return Image.fromarray(critters.portrait(critters.subjects("held_out")[0], np.random.default_rng(0)))


@pytest.fixture(scope="module")
def pocket():
    return refilm.load("pocket")


def frames(pipeline, reference, **settings):
    return pipeline.generate(PROMPT, reference, seed=7, **{"steps": 2, "guidance": 4.0, **settings}).frames.astype(int)


def test_one_window_is_the_plain_video_bit_for_bit(pocket, image):
    plain = frames(pocket, image)
    assert np.array_equal(plain, frames(pocket, image, window=17))
    assert np.array_equal(plain, frames(pocket, image, window=33, window_overlap=8))
    whole = frames(pocket, image, frames=33, window=33)
    windows = frames(pocket, image, frames=33)
    assert whole.shape == windows.shape == (33, 64, 64, 3)
    assert np.abs(whole - windows).max() > 8


@pytest.mark.parametrize(
    ("base", "count", "window"), [("tiny_base", 33, 17), ("tiny_wan", 17, 9), ("tiny_base_15", 33, 17)]
)
def test_every_family_makes_long_videos(request, image, base, count, window):
    pipeline = refilm.load(request.getfixturevalue(base))
    if pipeline.adapter is None:
        size = AdapterSize.of(pipeline.base.size, reference_dim=pipeline.base.encoders.image.width)
        pipeline = Pipeline(pipeline.base, wild(Adapter(size)))
    long = frames(pipeline, Subject(images=image, frames=f"1-{window}", words="critter"), frames=count, window=window)
    assert len(long) == count
    everywhere = frames(pipeline, Subject(images=image, words="critter"), frames=count, window=window)
    assert (long != everywhere).any()


def test_a_step_cache_keeps_windows_apart(pocket, image):
    plain = frames(pocket, image, frames=33, steps=4)
    assert np.array_equal(plain, frames(pocket, image, frames=33, steps=4, step_cache=1e-9))


def test_maps_of_windows_are_stitched(pocket, image):
    maps, request = AttentionMaps(), pocket.request(steps=2, frames=33)
    *_, last = pocket.sample([PROMPT], [image], seeds=[1], request=request, wrap_prediction=maps)
    assert maps.blocks().shape == (8, 1, 1, 9 * 16, 65)
    torch.testing.assert_close(maps.blocks().sum(dim=-1), torch.ones(8, 1, 1, 144))
    video = pocket.decode(last.latents)[0]
    assert pocket.explain(maps, video, image).attention.shape == (9, 4, 4, 8, 8)


@pytest.mark.parametrize("overlap", [0, 2])
def test_stitched_maps_are_those_of_the_windows(overlap):
    """A window's first frame, which is that of the video, counts only in the first window."""
    model, trained = transformer(), adapter()
    trained.attach(model)
    windows = Windows(7 if overlap else 8, 4, overlap)
    latents, _, text, tokens = inputs(batch=1, frames=windows.frames)
    references = trained.references(tokens)

    def recorded(predicting, latents):
        maps = AttentionMaps()
        predict = lambda x, timestep, _: predicting(x, torch.full((1,), timestep), text, references)  # noqa: E731
        maps(predict, model)(latents, 500.0, 0.0)
        return maps.blocks().unflatten(3, (latents.shape[1], -1))  # (blocks, B, S, n, h w, M)

    stitched = recorded(windowed(model, windows), latents)
    parts = [recorded(model, latents[:, list(windows.seen(index))]) for index in range(len(windows.starts))]
    for frame in range(windows.frames):
        of = [
            part[:, :, :, frame - start]
            for start, part in zip(windows.starts, parts, strict=True)
            if 0 <= frame - start < 4 and (frame > start or not start or not overlap)
        ]
        torch.testing.assert_close(stitched[:, :, :, frame], torch.stack(of).mean(dim=0))


def test_a_model_with_defaults_of_another_form_makes_short_videos(pocket, image):
    """Videos up to the default length never depend on windows."""
    size, compression = pocket.base.size, pocket.base.compression
    assert windows_of(pocket.request(frames=9, window_overlap=16), 16, size, compression).starts == (0,)
    with pytest.raises(UserError, match="window: 16 frames"):
        windows_of(pocket.request(frames=17), 16, size, compression)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 10}, "window: 10 frames: the number must be 4k \\+ 1, for instance 9 or 13"),
        ({"window_overlap": 3}, "window_overlap: 3 frames; give a multiple of 4, at most 16 for this window"),
        ({"window_overlap": 20}, "window_overlap: 20 frames; give a multiple of 4, at most 16 for this window"),
        ({"window": 0}, "window: Input should be greater than or equal to 1"),
    ],
)
def test_windows_that_do_not_fit_are_refused_before_sampling(pocket, image, settings, message):
    with pytest.raises(UserError, match=message):
        frames(pocket, image, frames=33, **settings)
