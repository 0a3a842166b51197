"""The training objective. Knows nothing of models: it is given what one predicted."""

from torch import Tensor

from refilm.diffusion.schedule import Schedule


def velocity_loss(prediction: Tensor, clean: Tensor, *, noise: Tensor, timesteps: Tensor, schedule: Schedule) -> Tensor:
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
    """
    target = schedule.velocity(clean.float(), noise.float(), timesteps)
    return (prediction.float() - target).square().flatten(1).mean(dim=1)
