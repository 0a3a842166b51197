import pytest
import torch

from refilm.diffusion import min_snr_weights, scaled_linear, velocity_loss

SCHEDULE = scaled_linear()


def test_a_perfect_prediction_costs_nothing_and_each_sample_pays_for_itself():
    schedule, timesteps = scaled_linear(), torch.tensor([0, 500, 999])
    clean, noise = torch.randn(2, 3, 2, 4, 2, 2)
    prediction = schedule.velocity(clean, noise, timesteps)
    prediction[1] += 0.5
    loss = velocity_loss(prediction, clean, noise=noise, timesteps=timesteps, schedule=schedule)
    torch.testing.assert_close(loss, torch.tensor([0.0, 0.25, 0.0]))


def test_it_is_the_weighted_error_of_the_clean_estimate():
    schedule, timesteps = scaled_linear(), torch.tensor([0, 37, 500, 999])
    clean, noise, prediction = torch.randn(3, 4, 2, 4, 2, 2, dtype=torch.float64).float()
    noisy = schedule.add_noise(clean, noise, timesteps)
    error = (schedule.clean(noisy, prediction, timesteps) - clean).square().flatten(1).mean(dim=1)
    weight = 1 / (1 - schedule.alphas_cumprod[timesteps])
    loss = velocity_loss(prediction, clean, noise=noise, timesteps=timesteps, schedule=schedule)
    torch.testing.assert_close(loss.double(), weight * error, rtol=1e-5, atol=0)


@pytest.fixture
def case():
    draw = torch.Generator().manual_seed(0)
    prediction, clean, noise = (torch.randn(3, 2, 4, 4, 6, generator=draw) for _ in range(3))
    return prediction, clean, {"noise": noise, "timesteps": torch.tensor([0, 500, 999]), "schedule": SCHEDULE}


def test_min_snr_weights_are_those_of_the_paper():
    timesteps = torch.arange(0, 999, 37)
    kept = SCHEDULE.alphas_cumprod[timesteps]
    ratio = kept / (1 - kept)
    wanted = torch.minimum(ratio, torch.tensor(5.0)) / (ratio + 1)
    assert torch.allclose(min_snr_weights(timesteps, SCHEDULE, gamma=5.0), wanted.float())
    assert min_snr_weights(torch.tensor([999]), SCHEDULE, gamma=5.0) == 0  # pure noise


def test_the_masks_share_of_the_loss_is_the_mean_over_the_mask(case):
    prediction, clean, of = case
    mask = torch.zeros(3, 2, 4, 6)
    mask[0, :, 1:3, 2:5] = 1
    mask[1, 0, 0, 0] = 0.25
    error = (prediction - SCHEDULE.velocity(clean, of["noise"], of["timesteps"])).square()
    inside = torch.stack([error[0, :, :, 1:3, 2:5].mean(), error[1, 0, :, 0, 0].mean(), error[2].mean()])
    everywhere = error.flatten(1).mean(1)
    found = velocity_loss(prediction, clean, **of, mask=mask, mask_fraction=0.75)
    assert torch.allclose(found, 0.25 * everywhere + 0.75 * inside, rtol=1e-5)
    assert torch.equal(velocity_loss(prediction, clean, **of, mask=mask), velocity_loss(prediction, clean, **of))
