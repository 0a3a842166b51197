"""What moves the weights: AdamW, or Muon for the matrices beside it; the learning rate's course; the moving average."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from refilm.settings import Settings


class OptimizerSettings(Settings):
    """How the weights move."""

    RENAMED: ClassVar = {"decay_share": "decay_fraction"}

    kind: Literal["muon", "adamw", "adamw8bit", "adamw8bit-bitsandbytes"] = "muon"
    """`muon`: Muon for the hidden matrices, AdamW for the rest; `adamw`: AdamW for all; `adamw8bit`: its moments in
    8 bits, by torchao; `adamw8bit-bitsandbytes`: the same, on CUDA alone."""
    learning_rate: float = Field(default=2e-3, gt=0, le=10)
    """AdamW's learning rate, reached after the warm-up."""
    muon_learning_rate: float = Field(default=5e-3, gt=0, le=10)
    """Muon's; its updates are about as long as AdamW's at the same rate (Liu et al. 2025)."""
    muon_names: str = r"\.\d+\.(?!.*lora_)"
    """Which matrices are hidden: a regular expression on the parameters' names, at first those of numbered layers but
    for low-rank changes."""
    weight_decay: float = Field(default=0.01, ge=0, le=10)
    """Decoupled weight decay."""
    beta2: float = Field(default=0.98, ge=0, lt=1)
    """AdamW's second moment decay."""
    warm_up: int = Field(default=100, ge=0)
    """Steps over which the learning rate rises from 0."""
    decay: Literal["linear", "cosine"] = "linear"
    """How the learning rate falls."""
    decay_fraction: float = Field(default=0.3, ge=0, le=1)
    """The last share of all steps, over which the learning rate falls to 0; 1: it falls from the first."""
    clip: float = Field(default=1.0, gt=0)
    """Gradients longer than this norm are shortened to it."""
    ema: float = Field(default=0.997, ge=0, lt=1)
    """Decay of the weights' moving average, which is what a run delivers; 0: the last weights themselves."""


def make_optimizers(
    parameters: Iterable[tuple[str, nn.Parameter]],
    settings: OptimizerSettings,
    *,
    products: torch.dtype = torch.float32,
) -> list[torch.optim.Optimizer]:
    """One AdamW for everything that trains, or Muon for the hidden matrices and AdamW for the rest.

    Args:
        parameters: with their names.
        settings: how they move.
        products: the precision of the run's matrix products; Muon's are bfloat16 where it is, and float32 elsewhere.

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
    if matrices:
        optimizers.append(
            FlatMuon(
                matrices,
                lr=settings.muon_learning_rate,
                weight_decay=settings.weight_decay,
                bfloat16=products == torch.bfloat16,
            )
        )
    return optimizers


def by_muon(name: str, parameter: nn.Parameter, settings: OptimizerSettings) -> bool:
    """Whether a parameter is Muon's."""
    return settings.kind == "muon" and parameter.ndim >= 2 and bool(re.search(settings.muon_names, name))


def _adamw(parameters: list[nn.Parameter], settings: OptimizerSettings) -> torch.optim.Optimizer:
    of = {"lr": settings.learning_rate, "betas": (0.9, settings.beta2), "weight_decay": settings.weight_decay}
    if settings.kind in ("muon", "adamw"):
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
    ours = [p for group in optimizer.param_groups for p in group["params"]]
    return list(zip(ours, optimizer.flat if isinstance(optimizer, FlatMuon) else ours, strict=True))


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

    Args:
        bfloat16: whether its products are bfloat16, as torch's always are; float32 if not. What the device is quick at
            does not matter here, so that the same precision gives the same training everywhere.
    """

    def __init__(self, parameters: list[nn.Parameter], *, lr: float, weight_decay: float, bfloat16: bool = False):
        self.bfloat16 = bfloat16
        self.flat = [nn.Parameter(p.detach().view(p.shape[0], -1)) for p in parameters]  # the same memory
        super().__init__(self.flat, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        self.param_groups[0]["params"] = parameters  # those that have gradients, which a loss scaler must see

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move the weights along their gradients, which `closure` may compute; returns what it does, the loss."""
        with torch.enable_grad():
            loss = None if closure is None else closure()
        with self._flattened() as group:
            if self.bfloat16:
                super().step()
            else:
                for matrix in (matrix for matrix in self.flat if matrix.grad is not None):
                    self._move(matrix, group)
        return loss

    @contextmanager
    def _flattened(self) -> Iterator[dict[str, Any]]:
        """Within the context the group is of matrices."""
        group = self.param_groups[0]
        parameters = group["params"]
        for matrix, parameter in zip(self.flat, parameters, strict=True):
            matrix.grad = None if parameter.grad is None else parameter.grad.reshape(matrix.shape)
        group["params"] = self.flat
        try:
            yield group
        finally:
            group["params"] = parameters
            for matrix in self.flat:
                matrix.grad = None

    def _move(self, matrix: nn.Parameter, group: dict[str, Any]) -> None:
        """What torch's own step does to a matrix, but for the products' dtype."""
        grad, state, momentum = matrix.grad, self.state[matrix], group["momentum"]
        assert grad is not None
        average = state.setdefault("momentum_buffer", torch.zeros_like(grad))
        average.lerp_(grad, 1 - momentum)
        update = orthogonal(grad.lerp(average, momentum), group["ns_coefficients"], group["ns_steps"])
        matrix.mul_(1 - group["lr"] * group["weight_decay"])
        matrix.add_(update, alpha=-0.2 * group["lr"] * math.sqrt(max(matrix.shape)))


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
    fall = min(1.0, (steps - step) / max(1.0, settings.decay_fraction * steps))
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
