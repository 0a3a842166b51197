"""The training objective. Knows nothing of models: it is given what one predicted."""

import torch
from torch import Tensor

from refilm.arguments import checked
from refilm.diffusion.schedule import Schedule


def velocity_loss(
    prediction: Tensor,
    clean: Tensor,
    *,
    noise: Tensor,
    timesteps: Tensor,
    schedule: Schedule,
    mask: Tensor | None = None,
    mask_fraction: float = 0.0,
) -> Tensor:
    """The mean squared error of the predicted velocity, for each sample: (B,) float32.

    CogVideoX is trained with the error of the clean estimate, divided by 1 - alpha^2. As the estimate is
    `alpha * noisy - sigma * prediction`, its error is sigma times the velocity's and sigma^2 = 1 - alpha^2: both are
    the same number. This form divides by nothing, so it is exact at timestep 0 too, where sigma^2 is 0.0025.

    Args:
        prediction: the model's velocity for `schedule.add_noise(clean, noise, timesteps)`, (B, T, C, H, W).
        clean: clean latents, (B, T, C, H, W).
        noise: the noise that was added, (B, T, C, H, W).
        timesteps: (B,) integers.
        schedule: the process the noise was added by.
        mask: where the subject is, 0..1, (B, T, H, W); one that is 0 everywhere counts as 1 everywhere.
        mask_fraction: the share of the loss that is the mean over the mask; the rest is the mean over everything.
    """
    target = schedule.velocity(clean.float(), noise.float(), timesteps)
    error = (prediction.float() - target).square()
    everywhere = error.flatten(1).mean(dim=1)
    if mask is None or not mask_fraction:
        return everywhere
    weight = mask.float()
    weight = torch.where(weight.flatten(1).sum(1).view(-1, 1, 1, 1) > 0, weight, 1.0)
    inside = (error.mean(dim=2) * weight).flatten(1).sum(1) / weight.flatten(1).sum(1)
    return torch.lerp(everywhere, inside, mask_fraction)


@checked
def min_snr_weights(timesteps: Tensor, schedule: Schedule, *, gamma: float) -> Tensor:
    """What each sample's loss counts: (B,) integers -> (B,) float32.

    min(SNR, gamma) / (SNR + 1), which for the velocity is what min(SNR, gamma) is for the clean estimate
    (Hang et al. 2023, arXiv:2303.09556, section 3.4): timesteps of little noise no longer outweigh the rest.

    Raises:
        ValueError: a gamma that is not above 0.
    """
    if not gamma > 0:
        raise ValueError(f"gamma must be above 0 (received {gamma})")
    alpha, sigma = (factor.flatten() for factor in schedule.alpha_sigma(timesteps, dtype=torch.float64))
    # over sigma^2, SNR = alpha^2 / sigma^2, and alpha^2 + sigma^2 = 1
    return torch.minimum(alpha.square(), gamma * sigma.square()).float()
