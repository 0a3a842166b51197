"""The training objective, computed from a prediction; independent of the model."""

import torch
from torch import Tensor

from refilm.arguments import checked
from refilm.diffusion.process import Process
from refilm.errors import UserError


def velocity_loss(
    prediction: Tensor,
    clean: Tensor,
    *,
    noise: Tensor,
    timesteps: Tensor,
    schedule: Process,
    mask: Tensor | None = None,
    mask_fraction: float = 0.0,
) -> Tensor:
    """The mean squared error of the predicted velocity per sample: (B,) float32, or float64 as the prediction.

    CogVideoX is trained with the error of the clean estimate, divided by 1 - alpha^2. As the estimate is
    `alpha * noisy - sigma * prediction`, its error is sigma times the velocity's and sigma^2 = 1 - alpha^2: both are
    the same number. This form has no division, so it is also exact at timestep 0, where sigma^2 is 0.0025.

    Args:
        prediction: the model's velocity for `schedule.add_noise(clean, noise, timesteps)`, (B, T, C, H, W).
        clean: clean latents, (B, T, C, H, W).
        noise: the noise that was added, (B, T, C, H, W).
        timesteps: (B,) integers.
        schedule: the noise schedule that was used to add the noise.
        mask: subject mask, 0..1, (B, T, H, W); a mask that is 0 everywhere is treated as 1 everywhere.
        mask_fraction: weight of the mean over the mask; the mean over everything has the remaining weight.
    """
    dtype = torch.promote_types(prediction.dtype, torch.float32)
    target = schedule.velocity(clean.to(dtype), noise.to(dtype), timesteps)
    error = (prediction.to(dtype) - target).square()
    everywhere = error.flatten(1).mean(dim=1)
    if mask is None or not mask_fraction:
        return everywhere
    weight = mask.to(dtype)
    weight = torch.where(weight.flatten(1).sum(1).view(-1, 1, 1, 1) > 0, weight, 1.0)
    inside = (error.mean(dim=2) * weight).flatten(1).sum(1) / weight.flatten(1).sum(1)
    return torch.lerp(everywhere, inside, mask_fraction)


@checked
def min_snr_weights(timesteps: Tensor, schedule: Process, *, gamma: float) -> Tensor:
    """Min-SNR weight of each sample's loss: (B,) integers -> (B,) float32.

    min(SNR, gamma) for the clean estimate, whose error is sigma times the velocity's (Hang et al. 2023,
    arXiv:2303.09556, section 3.4). It keeps timesteps with little noise from dominating the loss.

    Raises:
        UserError: `gamma` is not above 0.
    """
    if not gamma > 0:
        raise UserError(f"gamma must be above 0 (received {gamma})")
    alpha, sigma = (factor.flatten() for factor in schedule.alpha_sigma(timesteps, dtype=torch.float64))
    # SNR = alpha^2 / sigma^2, times sigma^2
    return torch.minimum(alpha.square(), gamma * sigma.square()).float()
