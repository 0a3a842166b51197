"""What training, loss and samplers need of a diffusion process; the noise schedule of v-prediction is one.

Letters: B samples, T latent frames, C latent channels, H x W latent pixels.
"""

import math
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor


class Level(NamedTuple):
    """One level of noise of a sampling run."""

    timestep: float
    """The timestep as the model receives it."""
    alpha: float
    """Factor of the signal."""
    sigma: float
    """Factor of the noise."""

    @property
    def log_snr(self) -> float:
        """Half the logarithm of the signal-to-noise ratio: minus infinity at pure noise, infinity at the end."""
        if not self.alpha:
            return -math.inf
        return math.log(self.alpha / self.sigma) if self.sigma else math.inf

    def factors(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Alpha and sigma for a batch, each (1, 1, 1, 1, 1); made on the device, so that nothing is copied to it."""
        shape = (1, 1, 1, 1, 1)
        alpha, sigma = (torch.full(shape, one, dtype=dtype, device=device) for one in (self.alpha, self.sigma))
        return alpha, sigma


CLEAN = Level(0, 1.0, 0.0)
"""The end of every run."""

Timesteps = Tensor | int | Level
"""(B,) training timesteps, one for all samples, or the level of a sampling run."""


@runtime_checkable
class Process(Protocol):
    """A process that mixes clean latents and noise: `alpha * clean + sigma * noise` at each of its timesteps.

    Everything else follows from these two levels and from what the model predicts. In a variance-preserving process
    alpha^2 + sigma^2 = 1 and the velocity is `alpha * noise - sigma * clean` (Salimans & Ho 2022, appendix D). In flow
    matching alpha + sigma = 1 and the velocity is `noise - clean` (Lipman et al. 2023, arXiv:2210.02747).
    """

    @property
    def steps(self) -> int:
        """Number of training timesteps; they count from 0 (almost clean) to `steps` - 1 (noise)."""
        ...

    def received(self, timesteps: Tensor) -> Tensor:
        """Training timesteps as the model receives them: (B,) integers -> (B,)."""
        ...

    def alpha_sigma(self, timesteps: Timesteps, *, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """The factors of signal and noise, each (B, 1, 1, 1, 1)."""
        ...

    def add_noise(self, clean: Tensor, noise: Tensor, timesteps: Timesteps) -> Tensor:
        """The noisy latents: (B, T, C, H, W), the dtype of `clean`."""
        ...

    def velocity(self, clean: Tensor, noise: Tensor, timesteps: Timesteps) -> Tensor:
        """What the model learns to predict: (B, T, C, H, W), the dtype of `clean`."""
        ...

    def clean(self, noisy: Tensor, velocity: Tensor, timesteps: Timesteps) -> Tensor:
        """The clean latents that a prediction implies: (B, T, C, H, W), the dtype of `noisy`."""
        ...

    def noise(self, noisy: Tensor, velocity: Tensor, timesteps: Timesteps) -> Tensor:
        """The noise that a prediction implies: (B, T, C, H, W), the dtype of `noisy`."""
        ...

    def spaced(self, steps: int) -> tuple[Level, ...]:
        """The levels at which a sampling run calls the model, noise first.

        Raises:
            UserError: `steps` is below 1 or exceeds the number of training timesteps.
        """
        ...


def factors_for(process: Process, timesteps: Timesteps, like: Tensor) -> tuple[Tensor, Tensor]:
    """The factors of signal and noise on the device of `like`; half-precision latents are mixed in float32."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    if isinstance(timesteps, Level):
        return timesteps.factors(dtype, like.device)
    alpha, sigma = process.alpha_sigma(timesteps, dtype=dtype)
    return alpha.to(like.device), sigma.to(like.device)
