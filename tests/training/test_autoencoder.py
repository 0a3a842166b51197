"""The autoencoder's lessons: what the decoder is given to put up with."""

import pytest
import torch

from refilm.training.autoencoder import AutoencoderSettings, AutoencoderTask, CropLesson


def decoded_from(noise: float) -> torch.Tensor:
    """The latents that the decoder gets in the first step, (B, C, T, h, w)."""
    lesson = {"until": 1, "batch": 3, "frames": 9, "crop": 16, "noise": noise}
    task = AutoencoderTask(AutoencoderSettings(channels=(8, 16, 16), curriculum=(lesson,)))
    given, decode = [], task.module.decode
    task.module.decode = lambda latents, **how: (given.append(latents), decode(latents, **how))[1]
    loss = task.loss(0, task.samples(0))["loss"]
    loss.backward()
    assert loss.isfinite()
    return given[0].detach()


def test_noise_comes_on_top_of_the_same_latents_each_crop_its_own_share():
    plain, noisy, twice = decoded_from(0.0), decoded_from(0.5), decoded_from(1.0)
    added = noisy - plain
    assert torch.allclose(twice - plain, 2 * added, atol=1e-5)
    shares = added.std(dim=(1, 2, 3, 4)) / plain.std(dim=(1, 2, 3, 4))
    assert (shares > 0).all()
    assert (shares < 0.55).all()
    assert len({round(share, 3) for share in shares.tolist()}) == 3


@pytest.mark.parametrize("frames", [-7, 0, 5, 13])
def test_frames_that_cannot_be_decoded_in_one_go_are_refused(frames):
    with pytest.raises(ValueError, match=f"{frames} frames cannot be decoded in one go; give 1, 9, 17"):
        CropLesson(until=1, batch=1, frames=frames, crop=16)
