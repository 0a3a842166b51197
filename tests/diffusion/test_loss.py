import torch

from refilm.diffusion import scaled_linear, velocity_loss


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
