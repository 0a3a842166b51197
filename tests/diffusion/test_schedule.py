import pytest
import torch
from diffusers.schedulers import CogVideoXDDIMScheduler
from hypothesis import given
from hypothesis import strategies as st

from refilm.diffusion import Schedule, scaled_linear

SHAPE = (2, 3, 4, 2, 2)


def theirs(**changes):
    settings = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "v_prediction"}
    return CogVideoXDDIMScheduler(beta_start=0.00085, beta_end=0.012, **settings | changes)


@pytest.mark.parametrize("snr_shift", [3.0, 1.0])
@pytest.mark.parametrize("zero", [True, False])
def test_levels_are_those_of_diffusers(snr_shift, zero):
    ours = scaled_linear(snr_shift=snr_shift, zero_terminal_snr=zero)
    other = theirs(snr_shift_scale=snr_shift, rescale_betas_zero_snr=zero)
    torch.testing.assert_close(ours.alphas_cumprod, other.alphas_cumprod, rtol=0, atol=1e-14)


def test_the_last_timestep_is_pure_noise():
    alpha, sigma = scaled_linear().alpha_sigma(999)
    assert (alpha.item(), sigma.item()) == (0.0, 1.0)


@given(steps=st.integers(1, 999))
def test_spacing_is_that_of_diffusers(steps):
    other = theirs()
    other.set_timesteps(steps)
    assert [level.timestep for level in scaled_linear().spaced(steps)] == other.timesteps.tolist()[:steps]


@given(timestep=st.integers(0, 999), seed=st.integers(0, 99))
def test_clean_latents_and_noise_come_back_out_of_the_velocity(timestep, seed):
    schedule = scaled_linear()
    clean, noise = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(seed))
    timesteps = torch.tensor([timestep, 999 - timestep])
    noisy, velocity = schedule.add_noise(clean, noise, timesteps), schedule.velocity(clean, noise, timesteps)
    torch.testing.assert_close(schedule.clean(noisy, velocity, timesteps), clean, rtol=0, atol=2e-6)
    torch.testing.assert_close(schedule.noise(noisy, velocity, timesteps), noise, rtol=0, atol=2e-6)


def test_one_timestep_for_all_is_the_same_as_one_each():
    schedule = scaled_linear()
    clean, noise = torch.randn(2, *SHAPE)
    each = schedule.add_noise(clean, noise, torch.tensor([400, 400]))
    assert torch.equal(schedule.add_noise(clean, noise, 400), each)


def test_half_precision_is_mixed_in_full():
    schedule = scaled_linear()
    clean, noise = torch.randn(2, *SHAPE).bfloat16()
    full = schedule.add_noise(clean.float(), noise.float(), 500)
    assert torch.equal(schedule.add_noise(clean, noise, 500), full.bfloat16())


@pytest.mark.parametrize(
    ("make", "received"),
    [
        (lambda: scaled_linear(beta_start=0.02), "0.02"),
        (lambda: scaled_linear(snr_shift=0.0), r"0\.0"),
        (lambda: scaled_linear(steps=1), "received 1"),
        (lambda: scaled_linear().spaced(1001), "1001"),
        (lambda: Schedule(torch.tensor([0.9, 0.5])), "float32"),
        (lambda: Schedule(torch.tensor([0.5, 0.9], dtype=torch.float64)), r"0\.5 \.\.\. 0\.9"),
    ],
)
def test_nonsense_is_refused_with_what_was_received(make, received):
    with pytest.raises(ValueError, match=received):
        make()
