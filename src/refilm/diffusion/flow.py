"""Flow matching: straight lines from clean latents to noise (Lipman et al. 2023, arXiv:2210.02747).

A noisy latent is `(1 - sigma) * clean + sigma * noise`; the model predicts the velocity `noise - clean`. A shift moves
the levels of a run, and those of training, towards noise, as larger videos need more of it (Esser et al. 2024,
arXiv:2403.03206, section 5.3.2). Independent of models and samplers.
"""

from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor

from refilm.arguments import checked
from refilm.diffusion.process import Level, Timesteps, factors_for
from refilm.errors import UserError

Spacing = Literal["unipc", "dpmpp", "euler"]
Number = TypeVar("Number", float, np.ndarray, Tensor)
LARGEST_SHIFT = 100  # beyond it, levels near noise become equal
ALMOST_NOISE = 1 - 1e-6  # the first level of UniPC in diffusers


@dataclass(frozen=True)
class FlowMatching:
    """A `Process` whose levels of noise are those of evenly spaced timesteps, shifted."""

    steps: int = 1000
    """Number of training timesteps, S: 0 (almost clean) to S - 1 (noise)."""
    shift: float = 1.0
    """Shift towards noise; 1 has no effect."""
    spacing: Spacing = "unipc"
    """Whose levels a sampling run has: those of diffusers' `UniPCMultistepScheduler` or `DPMSolverMultistepScheduler`,
    both with `use_flow_sigmas`, where the model receives whole timesteps; or of `FlowMatchEulerDiscreteScheduler`."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError(f"steps: must be at least 1 (received {self.steps})")
        if not 0 < self.shift <= LARGEST_SHIFT:
            raise UserError(f"shift: must be above 0 and at most {LARGEST_SHIFT} (received {self.shift})")
        if self.spacing not in get_args(Spacing):
            raise UserError(f"spacing: must be {', '.join(get_args(Spacing))} (received {self.spacing!r})")

    def received(self, timesteps: Tensor) -> Tensor:
        """Training timesteps as the model receives them: (B,) integers -> (B,) float32, their sigma times S."""
        return self.alpha_sigma(timesteps)[1].flatten() * self.steps

    def alpha_sigma(self, timesteps: Timesteps, *, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """The factors of signal and noise, each (B, 1, 1, 1, 1), on the timesteps' device.

        Args:
            timesteps: (B,) integers, one integer for all samples, or a level.
            dtype: dtype of the returned factors, which are computed in float64.
        """
        if isinstance(timesteps, Level):
            return timesteps.factors(dtype)
        fraction = (torch.as_tensor(timesteps).view(-1, 1, 1, 1, 1).double() + 1) / self.steps
        sigma = self._shifted(fraction).clamp(max=1)  # rounding
        return (1 - sigma).to(dtype), sigma.to(dtype)

    def add_noise(self, clean: Tensor, noise: Tensor, timesteps: Timesteps) -> Tensor:
        """The noisy latents at `timesteps`: (B, T, C, H, W), the dtype of `clean`."""
        alpha, sigma = factors_for(self, timesteps, clean)
        return (alpha * clean + sigma * noise).to(clean.dtype)

    def velocity(self, clean: Tensor, noise: Tensor, timesteps: Timesteps) -> Tensor:
        """What the model should predict, the same at every timestep: (B, T, C, H, W), the dtype of `clean`."""
        return (noise - clean).to(clean.dtype)

    def clean(self, noisy: Tensor, velocity: Tensor, timesteps: Timesteps) -> Tensor:
        """The clean latents implied by a predicted velocity: (B, T, C, H, W), the dtype of `noisy`."""
        _, sigma = factors_for(self, timesteps, noisy)
        return (noisy - sigma * velocity).to(noisy.dtype)

    def noise(self, noisy: Tensor, velocity: Tensor, timesteps: Timesteps) -> Tensor:
        """The noise implied by a predicted velocity: (B, T, C, H, W), the dtype of `noisy`."""
        alpha, _ = factors_for(self, timesteps, noisy)
        return (noisy + alpha * velocity).to(noisy.dtype)

    @checked
    def spaced(self, steps: int) -> tuple[Level, ...]:
        """The levels of a sampling run, noise first, see `spacing`.

        Raises:
            UserError: `steps` is below 1 or exceeds the number of training timesteps.
        """
        if not 1 <= steps <= self.steps:
            raise UserError(f"steps: must be from 1 to {self.steps} (received {steps})")
        least = 1 / self.steps
        if self.spacing == "euler":
            sigmas = self._shifted(np.linspace(1, self._shifted(least), steps)).clip(max=1)
            return tuple(map(Level, (sigmas * self.steps).tolist(), (1 - sigmas).tolist(), sigmas.tolist()))
        even = np.linspace(1, least, steps + 1)
        sigmas = self._shifted(even[:-1] if self.spacing == "unipc" else 1 - even[:0:-1]).clip(max=ALMOST_NOISE)
        return tuple(map(Level, (sigmas * self.steps).astype(int).tolist(), (1 - sigmas).tolist(), sigmas.tolist()))

    def _shifted(self, sigma: Number) -> Number:
        return self.shift * sigma / (1 + (self.shift - 1) * sigma)
