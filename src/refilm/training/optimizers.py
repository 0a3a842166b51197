"""What moves the weights: AdamW, or Muon for the matrices beside it; the learning rate's course; the moving average."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from refilm.settings import Settings
from refilm.training.precision import multiplies_bfloat16


class OptimizerSettings(Settings):
    """How the weights move."""

    kind: Literal["adamw", "adamw8bit", "adamw8bit-bitsandbytes"] = "adamw"
    """`adamw`; `adamw8bit`: its moments in 8 bits, by torchao; `adamw8bit-bitsandbytes`: the same, on CUDA alone."""
    learning_rate: float = Field(default=1e-3, gt=0)
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
    decay: Literal["linear", "cosine"] = "linear"
    """How the learning rate falls."""
    decay_share: float = Field(default=0.25, ge=0, le=1)
    """The last share of all steps, over which the learning rate falls to 0; 1: it falls from the first."""
    clip: float = 1.0
    """Gradients longer than this norm are shortened to it."""
    ema: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the weights' moving average, which is what a run delivers; 0: the last weights themselves."""


def make_optimizers(
    parameters: Iterable[tuple[str, nn.Parameter]], settings: OptimizerSettings
) -> list[torch.optim.Optimizer]:
    """One AdamW for everything that trains, or Muon for the hidden matrices and AdamW for the rest.

    Raises:
        ValueError: the library of an 8-bit AdamW is missing, or cannot work here.
    """
    trained = list(parameters)
    matrices = [p for name, p in trained if by_muon(name, p, settings)]
    chosen = {id(p) for p in matrices}
    rest = [p for _, p in trained if id(p) not in chosen]
    optimizers: list[torch.optim.Optimizer] = []
    if rest:
        optimizers.append(_adamw(rest, settings))
    if settings.muon_learning_rate is not None and matrices:
        optimizers.append(FlatMuon(matrices, lr=settings.muon_learning_rate, weight_decay=settings.weight_decay))
    return optimizers


def by_muon(name: str, parameter: nn.Parameter, settings: OptimizerSettings) -> bool:
    """Whether a parameter is Muon's."""
    hidden = parameter.ndim >= 2 and re.search(settings.muon_names, name)
    return settings.muon_learning_rate is not None and bool(hidden)


def _adamw(parameters: list[nn.Parameter], settings: OptimizerSettings) -> torch.optim.Optimizer:
    of = {"lr": settings.learning_rate, "betas": (0.9, settings.beta2), "weight_decay": settings.weight_decay}
    if settings.kind == "adamw":
        return torch.optim.AdamW(parameters, **of, fused=True)  # a third of the loop's time, on a CPU too
    if settings.kind == "adamw8bit":
        try:
            from torchao.optim import AdamW8bit  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ValueError('optimizer.kind adamw8bit needs torchao: pip install "refilm[quant]"') from error
        return AdamW8bit(parameters, **of)
    if parameters[0].device.type != "cuda":
        raise ValueError(
            f"optimizer.kind adamw8bit-bitsandbytes works on CUDA, not on {parameters[0].device.type}: take adamw8bit"
        )
    try:
        from bitsandbytes.optim import AdamW8bit as Bitsandbytes  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError('optimizer.kind adamw8bit-bitsandbytes needs bitsandbytes: pip install "refilm[quant]"') from (
            error
        )
    return Bitsandbytes(parameters, **of)


def begin(optimizer: torch.optim.Optimizer) -> None:
    """Lay its moments out, all 0, so that a run's state has the same entries before the first step as after it."""
    rates = [set_rate(group, 0.0) for group in optimizer.param_groups]
    for ours, _ in moved(optimizer):
        ours.grad = torch.zeros_like(ours)
    optimizer.step()
    optimizer.zero_grad()
    for moments in optimizer.state.values():
        if "step" in moments:
            moments["step"] *= 0
    for group, before in zip(optimizer.param_groups, rates, strict=True):
        set_rate(group, before)


def moved(optimizer: torch.optim.Optimizer) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """The parameters that an optimizer moves, each with the one that its moments are kept under."""
    keys = [p for group in optimizer.param_groups for p in group["params"]]
    return list(zip(optimizer.shaped if isinstance(optimizer, FlatMuon) else keys, keys, strict=True))


def set_rate(group: dict[str, Any], value: float) -> float:
    """Give a group of parameters another learning rate; returns the one it had."""
    before = float(group["lr"])
    if isinstance(group["lr"], Tensor):  # as torchao keeps it
        group["lr"].fill_(value)
    else:
        group["lr"] = value
    return before


class FlatMuon(torch.optim.Muon):
    """Muon (Jordan et al. 2024) that also takes convolutions: a kernel moves as a matrix of its output channels.

    Its products are bfloat16 where the device is quick at that, as torch's always are, and float32 elsewhere.
    """

    def __init__(self, parameters: list[nn.Parameter], *, lr: float, weight_decay: float):
        self.shaped = parameters
        flat = [nn.Parameter(p.detach().view(p.shape[0], -1)) for p in parameters]  # the same memory
        super().__init__(flat, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move the weights along their gradients, which `closure` may compute; returns what it does, the loss."""
        with torch.enable_grad():
            loss = None if closure is None else closure()
        group = self.param_groups[0]
        for matrix, shaped in zip(group["params"], self.shaped, strict=True):
            matrix.grad = None if shaped.grad is None else shaped.grad.reshape(matrix.shape)
        if multiplies_bfloat16(group["params"][0].device.type):
            super().step()
            return loss
        for matrix in (matrix for matrix in group["params"] if matrix.grad is not None):
            self._move(matrix, group)
        return loss

    def _move(self, matrix: nn.Parameter, group: dict[str, Any]) -> None:
        """What torch's own step does to a matrix, but for the products' dtype."""
        grad, state, momentum = matrix.grad, self.state[matrix], group["momentum"]
        assert grad is not None
        average = state.setdefault("momentum_buffer", torch.zeros_like(grad))
        average.lerp_(grad, 1 - momentum)
        update = orthogonal(grad.lerp(average, momentum), group["ns_coefficients"], group["ns_steps"])
        matrix.mul_(1 - group["lr"] * group["weight_decay"])
        matrix.add_(update, alpha=-0.2 * group["lr"] * math.sqrt(max(matrix.shape)))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for shaped in self.shaped:
            shaped.grad = None


def orthogonal(matrix: Tensor, coefficients: Sequence[float], steps: int) -> Tensor:
    """The nearest matrix with singular values of about 1, by Newton-Schulz iterations in the matrix's own dtype.

    Each iteration multiplies the matrix x by a polynomial of x x^T. These commute, so that they are iterated and
    gathered on the short side alone, and the matrix, long where it is a convolution's, is multiplied once.
    """
    a, b, c = coefficients
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp(min=1e-7)
    gram, product = x @ x.T, torch.eye(len(x), dtype=x.dtype, device=x.device)
    for _ in range(steps):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        gram, product = factor @ gram @ factor, factor @ product
    x = product @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def rate(step: int, steps: int, settings: OptimizerSettings) -> float:
    """The share of the learning rate at `step`: warm-up, plateau, fall to 0 (a trapezoid, where the fall is linear)."""
    rise = min(1.0, (step + 1) / max(1, settings.warm_up))
    fall = min(1.0, (steps - step) / max(1.0, settings.decay_share * steps))
    if settings.decay == "cosine":
        fall = (1 - math.cos(math.pi * fall)) / 2
    return min(rise, fall)


class MovingAverage:
    """An exponential moving average of named tensors, in their own dtype (Polyak averaging); at decay 0, of none."""

    def __init__(self, parameters: Mapping[str, Tensor], decay: float):
        self.decay = decay
        self.average = {name: p.detach().clone() for name, p in parameters.items()} if decay else {}

    @torch.no_grad()
    def update(self, parameters: Mapping[str, Tensor], step: int) -> None:
        """Take the weights after `step` in; early steps count more, so that the start is forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, average in self.average.items():
            average.lerp_(parameters[name].detach(), 1 - decay)
