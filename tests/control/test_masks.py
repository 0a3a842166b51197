"""Masks in the files and arrays that users have, as values of video tokens."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from refilm.backbones.cogvideox.sizes import TransformerSize
from refilm.control.masks import mask_tokens
from refilm.control.shot import Shot
from refilm.errors import UserError
from refilm.geometry import Compression
from refilm.media import Video

SIZE = TransformerSize(layers=1, heads=1, text_dim=8, text_length=4, position="rotary")
SHOT = Shot(
    SIZE, Compression(space=8, time=4, patch=2), 8.0, frames=9, height=32, width=48, steps=2
)  # 3 x 2 x 3 tokens
LEFT = np.zeros((32, 48), np.uint8)
LEFT[:, :16] = 255
ONLY_LEFT = torch.tensor([1.0, 0, 0] * 6)


def tokens(mask, shot=SHOT):
    return mask_tokens(mask, shot)


FORMS = ["png", "rgb", "rgba", "16 bit", "1 bit", "bool", "float", "uint8", "frames", "one channel", "color"]


@pytest.mark.parametrize("form", [*FORMS, "bool color", "clear", "clear pixels", "clear frames"])
def test_a_still_covers_its_tokens_in_every_frame(form, tmp_path):
    clear = np.full((32, 48, 4), 255, np.uint8)  # white, with alpha as the mask
    clear[..., 3] = LEFT
    pillow = {
        "png": Image.fromarray(LEFT),
        "rgb": Image.fromarray(LEFT).convert("RGB"),
        "rgba": Image.fromarray(LEFT).convert("RGBA"),
        "16 bit": Image.fromarray(LEFT.astype(np.uint16) * 257),
        "1 bit": Image.fromarray(LEFT > 0),
        "clear": Image.fromarray(clear),
    }
    arrays = {
        "bool": LEFT > 0,
        "float": LEFT / 255,
        "uint8": LEFT,
        "frames": np.repeat(LEFT[None], 9, axis=0),
        "one channel": LEFT[..., None],
        "color": np.repeat(LEFT[None, ..., None], 3, axis=-1),
        "bool color": np.repeat(LEFT[..., None] > 0, 3, axis=-1),
        "clear pixels": clear,
        "clear frames": np.repeat(clear[None] > 0, 9, axis=0),
    }
    if form in arrays:
        assert torch.equal(tokens(arrays[form]), ONLY_LEFT)
        return
    path = tmp_path / "mask.png"
    pillow[form].save(path)
    assert torch.equal(tokens(path), ONLY_LEFT)
    assert torch.equal(tokens(pillow[form]), ONLY_LEFT)


def test_colors_of_arrays_are_the_grays_of_files(tmp_path):
    colors = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    Image.fromarray(colors).save(tmp_path / "mask.png")
    assert torch.equal(tokens(colors), tokens(tmp_path / "mask.png"))


def test_half_a_token_is_half_and_other_sizes_are_fitted():
    half = LEFT.copy()
    half[:, 8:16] = 0
    assert torch.equal(tokens(half), 0.5 * ONLY_LEFT)
    large = LEFT.repeat(4, axis=0).repeat(4, axis=1)
    assert torch.equal(tokens(large), ONLY_LEFT)
    wide = np.pad(large, ((0, 0), (64, 64)))  # its center is taken
    assert torch.equal(tokens(wide), ONLY_LEFT)


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_mask_per_frame_reaches_its_frames(suffix, tmp_path):
    frames = np.zeros((9, 32, 48, 3), np.uint8)
    frames[0, :, :16] = 255  # the first token frame is the first frame alone
    frames[1:3, :, 16:32] = 255  # half of the four frames of the second
    frames[5:, 16:] = 255  # all of the third
    Video(frames, 8).save(tmp_path / f"mask{suffix}", scale=1)
    found = tokens(tmp_path / f"mask{suffix}").view(3, 2, 3)
    expected = torch.tensor([[[1, 0, 0]] * 2, [[0, 0.5, 0]] * 2, [[0] * 3, [1] * 3]])
    assert (found - expected).abs().max() < 0.06  # of a compressed file


def test_a_slower_mask_is_read_by_its_times(tmp_path):
    frames = np.zeros((5, 32, 48, 3), np.uint8)
    frames[0], frames[3:] = 255, 255  # at 4 fps: frames 1 to 5 of the video are black, the others white
    Video(frames, 4).save(tmp_path / "mask.mp4", scale=1)
    found = tokens(tmp_path / "mask.mp4").view(3, 6)
    assert (found - torch.tensor([1.0, 0, 0.75])[:, None]).abs().max() < 0.3
    assert found[0].min() > 0.9
    assert found[1].max() < 0.3


def test_tokens_that_span_latent_frames():
    shot = replace(SHOT, size=replace(SIZE, patch_time=2), compression=replace(SHOT.compression, patch_time=2))
    frames = np.zeros((9, 32, 48), np.uint8)
    frames[0] = 255
    frames[1:5] = 255
    found = tokens(frames, shot).view(2, 2, 3)
    assert torch.equal(found, torch.tensor([1.0, 0.5]).view(2, 1, 1).expand(2, 2, 3))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((32, 48), np.uint8), "mask: is black; paint it white where the subject is"),
        (np.ones((32, 48), np.uint8), "mask: is 0 and 1, almost black; white is 255"),
        (torch.ones(32, 48), "a mask must be a path, a PIL image or a numpy array, received Tensor"),
        (np.pad(np.zeros((32, 48), bool), ((0, 0), (64, 64)), constant_values=True), "mask: is black"),  # its center
        (np.ones((5, 32, 48), bool), "mask: 5 frames for a video of 9 at 8 fps; give one for each frame, or a still"),
        (np.full((32, 48), np.nan), "must be bool, uint8 or floats in 0..1, received float64"),
        (np.full((32, 48), 255.0), "must be bool, uint8 or floats in 0..1, received float64"),
        (np.ones((32, 48), int), "must be bool, uint8 or floats in 0..1, received int64"),
        (np.ones(48, bool), r"must be \(H, W\) or \(F, H, W\), received \(48,\)"),
        ("nowhere.png", "nowhere.png: no such file"),
        ("nowhere.mp4", "nowhere.mp4: no such file"),
    ],
)
def test_bad_masks_are_refused(mask, message):
    with pytest.raises(UserError, match=message):
        tokens(mask)
