"""Heat maps: recording does not change the video, and known attention gives the expected maps."""

import numpy as np
import pytest
import torch
from PIL import Image

import refilm
from refilm import Subject
from refilm.data import critters
from refilm.generation import AttentionMaps
from refilm.generation.attention_maps import attention_weights, information
from refilm.generation.explain import Explanation, color_chart
from refilm.generation.explain_subjects import SubjectExplanation
from refilm.media import Video, open_video
from refilm.model import Row, eager

PROMPT = "a critter bounces in the meadow"


@pytest.fixture(scope="module")
def pipeline(tiny_base) -> refilm.Pipeline:
    return refilm.load(tiny_base)


@pytest.fixture(scope="module")
def image() -> Image.Image:
    portrait = critters.portrait(critters.subjects("held_out")[0], np.random.default_rng(0), size=96)
    return Image.fromarray(portrait[:, 20:70])  # not square


def generated(pipeline, image, maps=None, count=1, **settings):
    request = pipeline.request(steps=3, **settings)
    given = ([PROMPT] * count, [image] * count)
    *_, last = pipeline.sample(*given, seeds=[*range(count)], request=request, wrap_prediction=maps)
    return last.latents


def test_attention_weights_are_those_of_the_formula():
    q, k = torch.randn(2, 2, 3, 9, 5, generator=torch.Generator().manual_seed(0))
    k = torch.cat([k, k.flip(2)[:, :, :4]], dim=2)
    weights = eager(q, k, torch.eye(13).expand(2, 3, 13, 13)).mean(dim=1)
    torch.testing.assert_close(attention_weights(q, k), weights)


@pytest.mark.parametrize("sampler", ["ddim", "sat"])  # the branches apart, and in one batch
def test_recording_leaves_the_video_unchanged_and_sees_the_conditional_branch(pipeline, image, sampler):
    maps, some = (AttentionMaps(steps=steps) for steps in (None, {1}))
    watched = generated(pipeline, image, maps, count=2, sampler=sampler)
    assert torch.equal(watched, generated(pipeline, image, count=2, sampler=sampler))
    seen = maps.blocks()
    assert seen.shape == (2, 2, 1, 5 * 4 * 4, 65)  # blocks, videos, subjects, video tokens, reference tokens
    torch.testing.assert_close(seen.sum(dim=-1), torch.ones(2, 2, 1, 80))
    assert seen.std(dim=-1).min() > 1e-4  # attention to zeros would be uniform
    generated(pipeline, image, some, count=2, sampler=sampler)
    assert not torch.equal(some.blocks(), seen)


def test_a_run_without_reference_attention_is_an_error(pipeline, image):
    maps = AttentionMaps()
    generated(pipeline, image, maps, reference_scale=0.0)
    with pytest.raises(
        ValueError,
        match="no reference attention was recorded: use a reference, a reference_scale and a guidance above 0",
    ):
        maps.blocks()


def explanation(attention):
    frames = np.full((4 * len(attention) - 3, 64, 96, 3), 200, dtype=np.uint8)
    return Explanation(Video(frames, 8.0), np.full((56, 56, 3), 200, dtype=np.uint8), attention)


def test_information_sums_to_the_mutual_information_of_video_and_image():
    attention = torch.rand(50, 9, generator=torch.Generator().manual_seed(0))
    attention = attention / attention.sum(dim=1, keepdim=True)
    bits = information(attention)
    assert bits.sum(dim=0).min() > 0
    assert bits.sum(dim=1).min() > 0
    joint, place = attention / 50, attention.mean(dim=0)
    assert bits.sum() / 50 == pytest.approx((joint * (joint / (place / 50)).log2()).sum().item(), rel=1e-4)
    torch.testing.assert_close(information(place.expand(50, 9)), torch.zeros(50, 9), rtol=0, atol=1e-6)


def test_parts_glow_in_the_color_of_the_attended_patches():
    """The second frame's left part attends to the top left corner of the image, all else attends uniformly."""
    attention = torch.full((2, 4, 6, 8, 8), 1 / 64)
    attention[1, :, 0] = 0
    attention[1, :, 0, 0, 0] = 1
    attention[1, :, 1] = 0
    attention[1, :, 1, 7, 4] = 1
    explained = explanation(attention)
    chart = color_chart(8)
    np.testing.assert_allclose(explained.colors[1, :, 0], np.broadcast_to(chart[0, 0], (4, 3)), atol=1e-5)
    np.testing.assert_allclose(explained.colors[1, :, 1], np.broadcast_to(chart[7, 4], (4, 3)), atol=1e-5)
    assert explained.glow[1, :, :2].min() > 0.9
    assert max(explained.glow[0].max(), explained.glow[1, :, 2:].max()) < 0.1
    assert {tuple(place) for place in np.argwhere(explained.light[1] > 0.5)} == {(0, 0), (7, 4)}
    assert explained.light[0].max() < 0.1
    first, second, *_ = explained.side_by_side().frames.astype(int)
    assert np.ptp(first[:, :, :], axis=-1)[:, 300:760].max() < 30  # gray without information
    assert np.ptp(second, axis=-1).max() > 100


def test_glow_lies_where_the_token_and_the_place_are():
    """One token of the second latent frame attends to one patch; three latent frames are frames 0, 1-4 and 5-8."""
    attention = torch.full((3, 4, 6, 8, 8), 1 / 64)
    attention[1, 2, 3] = 0
    attention[1, 2, 3, 5, 1] = 1
    sheet = np.ptp(explanation(attention).side_by_side().frames.astype(int), axis=-1)  # how far from gray: (F, H, W)
    assert [bright for bright in range(9) if sheet[bright].max() > 100] == [1, 2, 3, 4]
    for frame in (1, 4):
        video, image = sheet[frame, :, 396:780], sheet[frame, :, 792:]
        assert center(video) == pytest.approx((2.5 / 4 * 256, 3.5 / 6 * 384), abs=2)  # of the token's cell
        assert center(image) == pytest.approx((5.5 / 8 * 256, 1.5 / 8 * 256), abs=2)


def center(light: np.ndarray) -> tuple[float, float]:
    """The center of the bright pixels, (y, x) in pixels."""
    y, x = np.nonzero(light > light.max() / 2)
    return y.mean() + 0.5, x.mean() + 0.5


def test_attention_covers_the_patches_without_the_class_token(pipeline, image):
    """Video token n attends to patch 3 n of 64, and twice as much to the class token, which has no position."""
    video = Video(np.zeros((17, 32, 32, 3), np.uint8), 8.0)
    places = 3 * torch.arange(80) % 64
    weights = torch.zeros(1, 80, 65)  # of one subject
    weights[0, :, 0] = 2 / 3
    weights[0, torch.arange(80), 1 + places] = 1 / 3
    maps = AttentionMaps()
    row = Row("conditional", 0)
    maps._sums, maps._counts = {(0, row): weights}, {(0, row): 1}
    attention = pipeline.explain(maps, video, image).attention
    for t, y, x in ((0, 0, 0), (0, 0, 1), (0, 3, 2), (4, 3, 3)):
        place = int(places[16 * t + 4 * y + x])
        assert attention[t, y, x].nonzero().tolist() == [[place // 8, place % 8]]
        assert attention[t, y, x].sum() == 1


def test_uniform_attention_stays_dark():
    explained = explanation(torch.full((1, 4, 6, 8, 8), 1 / 64))
    assert explained.glow.max() == explained.light.max() == 0
    assert np.isfinite(explained.colors).all()


def test_colors_of_places_differ():
    chart = color_chart(16).reshape(-1, 3)
    assert chart.min() >= 0
    assert chart.max() <= 1
    corners = color_chart(16)[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert min(np.abs(one - two).max() for i, one in enumerate(corners) for two in corners[:i]) > 0.2


@pytest.mark.parametrize(
    ("output", "name"), [("video.mp4", "video.attention.mp4"), ("video.gif", "video.attention.gif")]
)
def test_it_is_written_beside_the_video(pipeline, image, tmp_path, output, name):
    maps = AttentionMaps()
    (video,) = pipeline.decode(generated(pipeline, image, maps))
    explained = pipeline.explain(maps, video, image)
    assert explained.attention.shape == (5, 4, 4, 8, 8)
    assert explained.image.shape == (32, 32, 3)
    moving, still = explained.save(tmp_path / output)
    assert (moving.name, still.name) == (name, "video.attention.png")
    assert open_video(moving).frames.shape == (17, 256, 3 * 256 + 2 * 12, 3)
    assert Image.open(still).size == (6 * 256 + 7 * 12, 3 * (256 + 34) + 12)
    assert np.array_equal(explained.side_by_side().frames[:, :, :256], video.frames.repeat(8, 1).repeat(8, 2))


@pytest.mark.parametrize("binding", ["separate", "joint"])
def test_subjects_are_seen_where_their_masks_are(pipeline, image, binding):
    left = np.pad(np.full((32, 16), 255, np.uint8), ((0, 0), (0, 16)))
    other = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    subjects = [Subject(name="a", images=[image, other], mask=left), Subject(name="b", images=other, mask=255 - left)]
    maps, request = AttentionMaps(), pipeline.request(steps=3, binding=binding)
    (*_, last) = pipeline.sample([PROMPT], [subjects], seeds=[0], request=request, wrap_prediction=maps)
    (*_, plain) = pipeline.sample([PROMPT], [subjects], seeds=[0], request=request)
    assert torch.equal(last.latents, plain.latents)
    weights = maps.blocks()
    assert weights.shape == (2, 1, 2, 80, 130)
    total = weights.sum(dim=-1) if binding == "separate" else weights.sum(dim=(2, 4))[:, :, None].expand(2, 1, 2, 80)
    torch.testing.assert_close(total, torch.ones(2, 1, 2, 80))
    video = pipeline.decode(last.latents)[0]
    explained = pipeline.explain_subjects(maps, video, ["a", "b"])
    assert explained.presence.shape == (2, 5, 4, 4)
    a, b = explained.presence
    assert a[:, :, :2].sum() > 0
    assert b[:, :, 2:].sum() > 0
    assert a[:, :, 2:].sum() == b[:, :, :2].sum() == 0
    first, second = (pipeline.explain(maps, video, one, view=view) for view, one in enumerate((image, other)))
    assert not torch.equal(first.attention, second.attention)
    with pytest.raises(ValueError, match="1 names for 2 subjects; give one for each"):
        pipeline.explain_subjects(maps, video, ["a"])


def test_the_color_is_that_of_the_subject_that_is_read(tmp_path):
    presence = torch.zeros(2, 2, 2, 3)
    presence[0, :, :, 0] = presence[1, :, :, 2] = 1
    video = Video(np.full((5, 64, 96, 3), 200, np.uint8), 8.0)
    explained = SubjectExplanation(video, ("a", "b"), presence)
    orange, blue = (np.array(color) / 255 for color in ((230, 159, 0), (86, 180, 233)))
    assert np.allclose(explained.colors[0, 0, 0], orange)
    assert np.allclose(explained.colors[0, 0, 2], blue)
    assert explained.glow[0, 0].tolist() == [1, 0, 1]
    files = explained.save(tmp_path / "video.mp4")
    assert [file.name for file in files] == ["video.subjects.mp4", "video.subjects.png"]
    assert open_video(files[0]).frames.shape == (5, 256, 2 * 384 + 12, 3)
