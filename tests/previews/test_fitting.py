"""Fits of linear previews: least squares, streamed, and what they are worth."""

from itertools import chain

import numpy as np
import pytest
import torch

from refilm.checkpoints import load_base
from refilm.data import critters
from refilm.errors import UserError
from refilm.geometry import Compression
from refilm.previews import (
    LinearPreview,
    colors_of,
    correlation,
    correlations,
    decoded_pairs,
    encoded_pairs,
    fit_preview,
)

COMPRESSION = Compression()


def pairs(count, *, channels=16, noise=0.0, seed=0):
    """Latents, and colors that are a linear map of them with noise."""
    rng = np.random.default_rng(seed)
    weight, bias = np.random.default_rng(9).normal(size=(3, channels)) / 8, np.array([0.1, 0.0, -0.2])
    for frames in range(1, count + 1):
        latents = rng.normal(size=(frames, channels, 3, 4))
        colors = np.einsum("tchw,rc->thwr", latents, weight) + bias + noise * rng.normal(size=(frames, 3, 4, 3))
        yield torch.from_numpy(latents).float(), ((colors + 1) * 127.5).astype(np.float32)


@pytest.fixture(scope="module")
def codec():
    return load_base("pocket", device="cpu", memory="low").encoders.autoencoder


def clips(*indices, split="train"):
    return [critters.draw_video(77, index, split) for index in indices]


def test_the_streamed_fit_is_that_of_all_pixels_at_once():
    made = list(pairs(6, noise=0.3))
    preview = fit_preview(iter(made), COMPRESSION)
    inputs = torch.cat([latents.movedim(1, -1).flatten(0, 2) for latents, _ in made]).double()
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)
    outputs = torch.cat([torch.from_numpy(colors).flatten(0, 2) for _, colors in made]).double() / 127.5 - 1
    plain = torch.linalg.lstsq(inputs, outputs).solution
    assert torch.allclose(preview.weight.double(), plain[:-1].T, atol=1e-6)
    assert torch.allclose(preview.bias.double(), plain[-1], atol=1e-6)


def test_a_linear_truth_is_found_exactly():
    preview = fit_preview(pairs(3), COMPRESSION)
    assert correlations(preview, pairs(4, seed=1)) == pytest.approx([1.0] * 4, abs=1e-2)  # but for clamping, rounding
    assert preview.bias.tolist() == pytest.approx([0.1, 0.0, -0.2], abs=1e-5)


def test_channels_that_say_nothing_are_left_out():
    """A constant channel and a repeated one make the equations singular."""
    made = [(torch.cat([z, torch.zeros_like(z[:, :1]), z[:, :1]], dim=1), colors) for z, colors in pairs(3)]
    preview = fit_preview(made, COMPRESSION)
    assert preview.weight.isfinite().all()
    assert preview.weight[:, 16].abs().max() < 1e-5
    assert torch.allclose(preview.weight[:, 0], preview.weight[:, 17], atol=1e-5)
    assert min(correlations(preview, made)) > 0.99


def test_no_clips_are_refused():
    with pytest.raises(UserError, match="there are no clips to fit a preview to; give at least one"):
        fit_preview([], COMPRESSION)


def test_correlation_is_pearsons():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(4, 5, 3))
    b = a + rng.normal(size=a.shape)
    assert correlation(a, b) == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1])
    assert correlation(a, 3 - 2 * a) == pytest.approx(-1)
    assert np.isnan(correlation(a, np.ones_like(a)))


def test_colors_are_means_over_latent_pixels_and_their_frames():
    video = clips(0)[0]
    colors = colors_of(video, COMPRESSION)
    assert colors.shape == (5, 8, 8, 3)
    assert colors[3, 2, 5] == pytest.approx(video[9:13, 16:24, 40:48].mean(axis=(0, 1, 2)), abs=1e-3)


def test_a_preview_of_the_pocket_model_resembles_clips_that_it_was_not_fitted_on(codec):
    preview = fit_preview(encoded_pairs(codec, clips(*range(8))), codec.compression)
    held_out = list(encoded_pairs(codec, clips(*range(6), split="held_out")))
    found = correlations(preview, held_out)
    assert min(found) > 0.8
    wrong = [correlation(preview.frames(held_out[n][0]), held_out[n - 1][1]) for n in range(6)]
    assert np.mean(wrong) < np.mean(found) - 0.3


def test_decoded_latents_are_fitted_as_clips_are(codec):
    fitted = fit_preview(encoded_pairs(codec, clips(*range(4))), codec.compression)
    latents = [codec.posterior(torch.from_numpy(clip)[None])[0][0] for clip in clips(*range(4))]
    from_latents = fit_preview(decoded_pairs(codec, latents), codec.compression)
    assert correlation(*(one.frames(latents[0]) for one in (fitted, from_latents))) > 0.99
    (_, colors) = next(chain(decoded_pairs(codec, latents)))
    decoded = codec.decode(latents[0][None])[0].numpy()
    assert np.array_equal(colors, colors_of(decoded, codec.compression))


def test_the_shipped_preview_is_a_fit_of_the_shipped_model(codec):
    shipped = load_base("pocket", device="cpu", memory="low").preview
    assert isinstance(shipped, LinearPreview)
    held_out = list(encoded_pairs(codec, clips(*range(6), split="held_out")))
    own = fit_preview(encoded_pairs(codec, clips(*range(8))), codec.compression)
    assert np.mean(correlations(shipped, held_out)) > np.mean(correlations(own, held_out)) - 0.02


@pytest.mark.parametrize("folder", ["tiny_base_15", "tiny_wan"])
def test_other_families_are_fitted_too(folder, request):
    """CogVideoX 1.5 repeats the first latent frame, and Wan has an autoencoder of its own."""
    base = load_base(request.getfixturevalue(folder), device="cpu", memory="low")
    codec, clip = base.encoders.autoencoder, clips(0)[0]
    ((latents, colors),) = made = list(encoded_pairs(codec, [clip]))
    assert (latents.shape[0], *latents.shape[2:]) == colors.shape[:3]
    preview = fit_preview(made, codec.compression)
    assert preview.frames(latents).shape == colors.shape
    assert preview.video(latents, fps=8).frames.shape == clip.shape
    assert correlations(preview, made)[0] > 0.3
