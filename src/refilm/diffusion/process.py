"""What training, loss and samplers need of a diffusion process; the noise schedule of v-prediction is one.

Letters: B samples, T latent frames, C latent channels, H x W latent pixels.
"""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


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

    def alpha_sigma(self, timesteps: Tensor | int, *, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """The levels of signal and noise, each (B, 1, 1, 1, 1), of (B,) timesteps or of one for all samples."""
        ...

    def add_noise(self, clean: Tensor, noise: Tensor, timesteps: Tensor | int) -> Tensor:
        """The noisy latents: (B, T, C, H, W), the dtype of `clean`."""
        ...

    def velocity(self, clean: Tensor, noise: Tensor, timesteps: Tensor | int) -> Tensor:
        """What the model learns to predict: (B, T, C, H, W), the dtype of `clean`."""
        ...

    def clean(self, noisy: Tensor, velocity: Tensor, timesteps: Tensor | int) -> Tensor:
        """The clean latents that a prediction implies: (B, T, C, H, W), the dtype of `noisy`."""
        ...

    def noise(self, noisy: Tensor, velocity: Tensor, timesteps: Tensor | int) -> Tensor:
        """The noise that a prediction implies: (B, T, C, H, W), the dtype of `noisy`."""
        ...

    def spaced(self, steps: int) -> tuple[int, ...]:
        """The timesteps of a sampling run, noise first.

        Raises:
            UserError: `steps` is below 1 or exceeds the number of training timesteps.
        """
        ...
