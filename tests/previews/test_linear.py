"""Linear previews: colors, sizes, files."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from refilm.errors import NotFiniteError, UserError
from refilm.geometry import Compression
from refilm.previews import LinearPreview

COMPRESSION = Compression()


def random(channels=16, compression=COMPRESSION, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight, bias = torch.randn(3, channels, generator=generator), torch.randn(3, generator=generator)
    return LinearPreview(weight / channels**0.5, bias / 4, compression)


def latents(frames=5, channels=16, height=4, width=6):
    return torch.randn(frames, channels, height, width, generator=torch.Generator().manual_seed(1))


def test_a_pixel_is_the_linear_map_of_its_latent_pixel():
    preview, z = random(), latents()
    frames = preview.frames(z)
    assert (frames.shape, frames.dtype) == ((5, 4, 6, 3), np.uint8)
    for place in ((0, 0, 0), (2, 3, 1), (4, 1, 5)):
        t, y, x = place
        color = (preview.weight @ z[t, :, y, x] + preview.bias).clamp(-1, 1)
        assert np.abs(frames[place] - (color.numpy() + 1) * 127.5).max() <= 0.5001
    assert frames.min() == 0  # some are clamped
    assert frames.max() == 255


def test_half_precision_latents_are_computed_in_float32():
    preview, z = random(), latents().to(torch.bfloat16)
    assert np.array_equal(preview.frames(z), preview.frames(z.float()))


@pytest.mark.parametrize("compression", [COMPRESSION, Compression(patch_time=2), Compression(space=16, time=2)])
def test_a_video_has_the_size_and_the_frames_of_the_decoded_one(compression):
    preview, z = random(compression=compression), latents(frames=4)
    video = preview.video(z, fps=8)
    assert video.fps == 8
    assert video.frames.shape == (compression.frames(4), 4 * compression.space, 6 * compression.space, 3)
    frames, first = video.frames, 1 + compression.time
    assert all(np.array_equal(frames[1], one) for one in frames[1:first])  # of one latent frame
    assert not np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[1], frames[first])


def test_a_video_has_the_colors_of_the_frames():
    preview = LinearPreview(random().weight, torch.zeros(3), COMPRESSION)
    z = latents()[:, :, :1, :1].expand(-1, -1, 4, 6) / 4
    small, large = preview.frames(z), preview.video(z, fps=8).frames
    shown = [0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4]
    assert np.array_equal(large, small[shown].repeat(8, axis=1).repeat(8, axis=2))


def test_the_repeated_first_latent_frame_is_shown_once():
    preview, z = random(compression=Compression(patch_time=2)), latents(frames=4)
    other = z.clone()
    other[0] = 9
    assert np.array_equal(preview.video(z, fps=8).frames, preview.video(other, fps=8).frames)


def test_other_latents_are_refused():
    for z, message in (
        (latents()[None], r"received a batch, \(1, 5, 16, 4, 6\); give those of one video, such as latents\[0\]"),
        (latents(channels=4), r"must be \(T, 16, h, w\), received \(5, 4, 4, 6\)"),
        (latents()[0], r"must be \(T, 16, h, w\), received \(16, 4, 6\)"),
        (latents()[:0], r"received \(0, 16, 4, 6\)"),
    ):
        for show in (random().frames, lambda z: random().video(z, 8)):
            with pytest.raises(UserError, match=message):
                show(z)
    with pytest.raises(NotFiniteError):
        random().frames(latents() * float("nan"))


def test_what_is_saved_is_loaded(tmp_path):
    preview, path = random(), tmp_path / "preview.safetensors"
    preview.save(path)
    read = LinearPreview.load(path, channels=16, compression=COMPRESSION)
    assert torch.equal(read.weight, preview.weight)
    assert torch.equal(read.bias, preview.bias)
    assert np.array_equal(read.frames(latents()), preview.frames(latents()))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            {"weight": torch.zeros(3, 4), "bias": torch.zeros(3)},
            r"p.safetensors: is for latents with 4 channels, the base model's have 16; use the preview of this base "
            r"model, or fit one: refilm preview fit",
        ),
        ({"weight": torch.zeros(2, 16), "bias": torch.zeros(3)}, r"weight has shape \(2, 16\), not \(3, 16\)"),
        ({"weight": torch.zeros(3, 16), "bias": torch.zeros(4)}, r"bias has shape \(4,\), not \(3,\)"),
        ({"weight": torch.zeros(16), "bias": torch.zeros(3)}, r"weight has shape \(16,\), not 2 dimensions"),
        ({"bias": torch.zeros(3)}, "missing key weight"),
        ({"weight": torch.zeros(3, 16)}, "missing key bias"),
        ({"weight": torch.zeros(3, 16), "bias": torch.zeros(3), "more": torch.zeros(1)}, "surplus key more"),
        ({"weight": torch.full((3, 16), torch.nan), "bias": torch.zeros(3)}, "weight contains NaN"),
    ],
)
def test_other_files_are_refused(tmp_path, tensors, message):
    save_file(tensors, tmp_path / "p.safetensors")
    with pytest.raises(UserError, match=message):
        LinearPreview.load(tmp_path / "p.safetensors", channels=16, compression=COMPRESSION)
