"""The noise schedule: the coefficients of signal and noise at each timestep.

Training and sampling both get their coefficients here. A noisy latent is
`alpha * clean + sigma * noise` with alpha^2 + sigma^2 = 1 (variance preserving); the model predicts the velocity
`alpha * noise - sigma * clean` (Salimans & Ho 2022, appendix D). Independent of models and samplers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from refilm.arguments import checked
from refilm.diffusion.process import Level, Timesteps, factors_for
from refilm.errors import UserError


@dataclass(frozen=True, eq=False)
class Schedule:
    """A variance-preserving process over timesteps 0 (almost clean) to S - 1 (noise)."""

    alphas_cumprod: Tensor
    """Fraction of signal variance left at each timestep, alpha^2: (S,) float64, decreasing."""
    before_rescale: Tensor | None = None
    """The values before the rescale to zero terminal SNR, if there was one; used only by the `sat` sampler."""

    def __post_init__(self) -> None:
        table = self.alphas_cumprod
        if table.dtype != torch.float64 or table.ndim != 1 or len(table) < 1:
            raise UserError(
                f"alphas_cumprod: give one float64 number per timestep (received {table.dtype}, {tuple(table.shape)})"
            )
        if table[0] >= 1 or table[-1] < 0 or (table.diff() >= 0).any():
            raise UserError(
                "alphas_cumprod: must decrease at every timestep, with all values from 0 to below 1"
                f" (received {table[0]:.6g} ... {table[-1]:.6g})"
            )

    @property
    def steps(self) -> int:
        """Number of training timesteps, S."""
        return len(self.alphas_cumprod)

    def received(self, timesteps: Tensor) -> Tensor:
        """Training timesteps as the model receives them: unchanged."""
        return timesteps

    def alpha_sigma(self, timesteps: Timesteps, *, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """The factors of signal and noise, each (B, 1, 1, 1, 1), on the timesteps' device.

        Args:
            timesteps: (B,) integers, one integer for all samples, or a level.
            dtype: dtype of the returned factors, which are computed in float64.
        """
        if isinstance(timesteps, Level):
            return timesteps.factors(dtype)
        if isinstance(timesteps, int):
            timesteps = torch.tensor([timesteps])
        alphas = self.alphas_cumprod.sqrt().to(timesteps.device, dtype)
        sigmas = (1 - self.alphas_cumprod).sqrt().to(timesteps.device, dtype)
        return alphas[timesteps].view(-1, 1, 1, 1, 1), sigmas[timesteps].view(-1, 1, 1, 1, 1)

    def add_noise(self, clean: Tensor, noise: Tensor, timesteps: Timesteps) -> Tensor:
        """The noisy latents at `timesteps`: (B, T, C, H, W), the dtype of `clean`."""
        alpha, sigma = factors_for(self, timesteps, clean)
        return (alpha * clean + sigma * noise).to(clean.dtype)

    def velocity(self, clean: Tensor, noise: Tensor, timesteps: Timesteps) -> Tensor:
        """What the model should predict: (B, T, C, H, W), the dtype of `clean`."""
        alpha, sigma = factors_for(self, timesteps, clean)
        return (alpha * noise - sigma * clean).to(clean.dtype)

    def clean(self, noisy: Tensor, velocity: Tensor, timesteps: Timesteps) -> Tensor:
        """The clean latents implied by a predicted velocity: (B, T, C, H, W), the dtype of `noisy`."""
        alpha, sigma = factors_for(self, timesteps, noisy)
        return (alpha * noisy - sigma * velocity).to(noisy.dtype)

    def noise(self, noisy: Tensor, velocity: Tensor, timesteps: Timesteps) -> Tensor:
        """The noise implied by a predicted velocity: (B, T, C, H, W), the dtype of `noisy`."""
        alpha, sigma = factors_for(self, timesteps, noisy)
        return (sigma * noisy + alpha * velocity).to(noisy.dtype)

    @checked
    def spaced(self, steps: int) -> tuple[Level, ...]:
        """The levels of a sampling run, noise first: `steps` timesteps, evenly spaced back from the last.

        "Trailing" spacing (Lin et al. 2023, arXiv:2305.08891, table 2): a run starts from pure noise.

        Raises:
            UserError: `steps` is below 1 or exceeds the number of training timesteps.
        """
        if not 1 <= steps <= self.steps:
            raise UserError(f"steps: must be from 1 to {self.steps} (received {steps})")
        stride = self.steps - (self.steps - self.steps / steps)  # as in np.arange: ties round as in diffusers
        return tuple(self.level(round(self.steps - index * stride) - 1) for index in range(steps))

    def level(self, timestep: int) -> Level:
        """The level of a training timestep."""
        alpha, sigma = self.alpha_sigma(timestep, dtype=torch.float64)
        return Level(timestep, alpha.item(), sigma.item())


@checked
def scaled_linear(
    *,
    beta_start: float = 0.00085,
    beta_end: float = 0.012,
    steps: int = 1000,
    snr_shift: float = 3.0,
    zero_terminal_snr: bool = True,
) -> Schedule:
    """Stable Diffusion's schedule, betas linear in their roots, with CogVideoX's two changes. Defaults: CogVideoX-2B.

    Args:
        beta_start: variance of the noise added at timestep 0.
        beta_end: variance of the noise added at the last timestep.
        steps: number of training timesteps.
        snr_shift: divides the signal-to-noise ratio of every timestep; 1 has no effect (CogVideoX-5B).
        zero_terminal_snr: whether to rescale so that the last timestep is pure noise.

    Raises:
        UserError: the values do not give a decreasing schedule.
    """
    if not 0 < beta_start < beta_end < 1:
        raise UserError(f"betas: must increase between 0 and 1 (received {beta_start} ... {beta_end})")
    if steps < 2:
        raise UserError(f"steps: must be at least 2 (received {steps})")
    if not snr_shift > 0:
        raise UserError(f"snr_shift: must be above 0 (received {snr_shift})")
    betas = torch.linspace(beta_start**0.5, beta_end**0.5, steps, dtype=torch.float64) ** 2
    table = (1 - betas).cumprod(dim=0)
    table = table / (snr_shift + (1 - snr_shift) * table)
    return Schedule(rescale_zero_terminal_snr(table), before_rescale=table) if zero_terminal_snr else Schedule(table)


def rescale_zero_terminal_snr(alphas_cumprod: Tensor) -> Tensor:
    """Shift and stretch the roots so that the last becomes 0 and the first stays (Lin et al. 2023, algorithm 1).

    Args:
        alphas_cumprod: (S,), decreasing.
    """
    roots = alphas_cumprod.sqrt()
    return ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2
