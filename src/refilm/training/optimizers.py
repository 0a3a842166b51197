"""What moves the weights: AdamW, or Muon for the matrices beside it; the learning rate's course; the moving average."""

import re
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from refilm.settings import Settings


class OptimizerSettings(Settings):
    """How the weights move."""

    learning_rate: float = 1e-3
    """AdamW's learning rate, reached after the warm-up."""
    muon_learning_rate: float | None = None
    """Give the hidden matrices to Muon, at this learning rate; none: AdamW for all."""
    muon_names: str = r"blocks\."
    """Which matrices are hidden: a regular expression on the parameters' names."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""
    beta2: float = 0.99
    """AdamW's second moment decay."""
    warm_up: int = 100
    """Steps over which the learning rate rises from 0."""
    decay_share: float = 0.25
    """The last share of all steps, over which the learning rate falls to 0."""
    clip: float = 1.0
    """Gradients longer than this norm are shortened to it."""
    ema: float = 0.999
    """Decay of the weights' moving average, which is what a run delivers; 0: the last weights themselves."""


def make_optimizers(
    parameters: Iterable[tuple[str, nn.Parameter]], settings: OptimizerSettings
) -> list[torch.optim.Optimizer]:
    """One AdamW for everything that trains, or Muon for the hidden matrices and AdamW for the rest."""
    trained = list(parameters)
    hidden = re.compile(settings.muon_names)
    muon_rate = settings.muon_learning_rate
    matrices = [p for name, p in trained if muon_rate is not None and p.ndim >= 2 and hidden.search(name)]
    chosen = {id(p) for p in matrices}
    rest = [p for _, p in trained if id(p) not in chosen]
    betas, decay = (0.9, settings.beta2), settings.weight_decay
    optimizers: list[torch.optim.Optimizer] = []
    if rest:
        optimizers.append(torch.optim.AdamW(rest, lr=settings.learning_rate, betas=betas, weight_decay=decay))
    if muon_rate is not None and matrices:
        optimizers.append(FlatMuon(matrices, lr=muon_rate, weight_decay=decay))
    return optimizers


class FlatMuon(torch.optim.Muon):
    """Muon (Jordan et al. 2024) that also takes convolutions: a kernel moves as a matrix of its output channels."""

    def __init__(self, parameters: list[nn.Parameter], *, lr: float, weight_decay: float):
        self.shaped = parameters
        flat = [nn.Parameter(p.detach().view(p.shape[0], -1)) for p in parameters]  # the same memory
        super().__init__(flat, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move the weights along their gradients."""
        flat = self.param_groups[0]["params"]
        for matrix, shaped in zip(flat, self.shaped, strict=True):
            matrix.grad = None if shaped.grad is None else shaped.grad.reshape(matrix.shape)
        return super().step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for shaped in self.shaped:
            shaped.grad = None


def rate(step: int, steps: int, settings: OptimizerSettings) -> float:
    """The share of the learning rate at `step`: warm-up, plateau, linear fall (trapezoid)."""
    rise = min(1.0, (step + 1) / max(1, settings.warm_up))
    fall = (steps - step) / max(1.0, settings.decay_share * steps)
    return min(rise, fall, 1.0)


class MovingAverage:
    """An exponential moving average of named tensors, in their own dtype (Polyak averaging)."""

    def __init__(self, parameters: Mapping[str, Tensor], decay: float):
        self.decay = decay
        self.average = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: Mapping[str, Tensor], step: int) -> None:
        """Take the weights after `step` in; early steps count more, so that the start is forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, average in self.average.items():
            average.lerp_(parameters[name].detach(), 1 - decay)
