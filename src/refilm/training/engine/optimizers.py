"""Optimizers: AdamW, or Muon for matrices and AdamW for the rest; learning-rate schedule; moving average of weights."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from refilm.errors import UserError
from refilm.training.settings import OptimizerSettings


def make_optimizers(
    parameters: Iterable[tuple[str, nn.Parameter]],
    settings: OptimizerSettings,
    *,
    products: torch.dtype = torch.float32,
) -> list[torch.optim.Optimizer]:
    """Create one AdamW for all trained parameters, or Muon for the hidden matrices and AdamW for the rest.

    Args:
        parameters: with their names.
        settings: of the optimizers.
        products: dtype of the run's matrix products; Muon uses bfloat16 if it is bfloat16, otherwise float32.

    Raises:
        UserError: the library of an 8-bit AdamW is missing, or does not support the device.
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
    """Whether Muon optimizes a parameter."""
    return settings.kind == "muon" and parameter.ndim >= 2 and bool(re.search(settings.muon_names, name))


def _adamw(parameters: list[nn.Parameter], settings: OptimizerSettings) -> torch.optim.Optimizer:
    of = {"lr": settings.learning_rate, "betas": (0.9, settings.beta2), "weight_decay": settings.weight_decay}
    if settings.kind in ("muon", "adamw"):
        return torch.optim.AdamW(parameters, **of, fused=True)  # saves a third of the loop's time, on a CPU too
    if settings.kind == "adamw8bit":
        try:
            from torchao.optim import AdamW8bit  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise UserError('optimizer.kind adamw8bit needs torchao: pip install "refilm[quant]"') from error
        return AdamW8bit(parameters, **of)
    if parameters[0].device.type != "cuda":
        raise UserError(
            f"optimizer.kind adamw8bit-bitsandbytes needs CUDA, not {parameters[0].device.type}: use adamw8bit"
        )
    try:
        from bitsandbytes.optim import AdamW8bit as Bitsandbytes  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError('optimizer.kind adamw8bit-bitsandbytes needs bitsandbytes: pip install "refilm[quant]"') from (
            error
        )
    return Bitsandbytes(parameters, **of)


def create_moments(optimizer: torch.optim.Optimizer) -> None:
    """Create an optimizer's moments, all 0, so that a run's state has the same entries before and after a step."""
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
    """The parameters of an optimizer, each with the key of its moments in the optimizer's state."""
    ours = [p for group in optimizer.param_groups for p in group["params"]]
    return list(zip(ours, optimizer.flat if isinstance(optimizer, FlatMuon) else ours, strict=True))


def set_rate(group: dict[str, Any], value: float) -> float:
    """Set the learning rate of a parameter group; returns the previous one."""
    before = float(group["lr"])
    if isinstance(group["lr"], Tensor):  # torchao's is a tensor
        group["lr"].fill_(value)
    else:
        group["lr"] = value
    return before


class FlatMuon(torch.optim.Muon):
    """Muon (Jordan et al. 2024) that also supports convolutions: a kernel is a matrix with one row per output channel.

    Args:
        bfloat16: compute matrix products in bfloat16, as torch's Muon does; otherwise in float32. Independent of the
            device, so that the same precision gives the same training everywhere.
    """

    def __init__(self, parameters: list[nn.Parameter], *, lr: float, weight_decay: float, bfloat16: bool = False):
        self.bfloat16 = bfloat16
        self.flat = [nn.Parameter(p.detach().view(p.shape[0], -1)) for p in parameters]  # the same memory
        super().__init__(self.flat, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        self.param_groups[0]["params"] = parameters  # those with gradients, for the loss scaler

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update the weights by their gradients; `closure` may compute them, and its loss is returned."""
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
        """Within the context the parameter group contains the matrices."""
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
        """As torch's own step for one matrix, except for the dtype of the products."""
        grad, state, momentum = matrix.grad, self.state[matrix], group["momentum"]
        assert grad is not None
        average = state.setdefault("momentum_buffer", torch.zeros_like(grad))
        average.lerp_(grad, 1 - momentum)
        update = orthogonal(grad.lerp(average, momentum), group["ns_coefficients"], group["ns_steps"])
        matrix.mul_(1 - group["lr"] * group["weight_decay"])
        matrix.add_(update, alpha=-0.2 * group["lr"] * math.sqrt(max(matrix.shape)))


def orthogonal(matrix: Tensor, coefficients: Sequence[float], steps: int) -> Tensor:
    """The nearest matrix with singular values of about 1, by Newton-Schulz iterations in the matrix's own dtype.

    Each iteration multiplies the matrix x by a polynomial of x x^T. The polynomials commute, so they are accumulated
    on the short side only, and the matrix, which is long for convolutions, is multiplied once.
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
    """The learning rate at `step` as a fraction: warm-up, plateau, decay to 0 (a trapezoid if the decay is linear)."""
    rise = min(1.0, (step + 1) / max(1, settings.warm_up))
    fall = min(1.0, (steps - step) / max(1.0, settings.decay_fraction * steps))
    if settings.decay == "cosine":
        fall = (1 - math.cos(math.pi * fall)) / 2
    return min(rise, fall)


class MovingAverage:
    """An exponential moving average of named tensors, in their own dtype (Polyak averaging); empty at decay 0."""

    def __init__(self, parameters: Mapping[str, Tensor], decay: float):
        self.decay = decay
        self.average = {name: p.detach().clone() for name, p in parameters.items()} if decay else {}

    @torch.no_grad()
    def update(self, parameters: Mapping[str, Tensor], step: int) -> None:
        """Add the weights after `step`; the decay is smaller in early steps, so the initial weights fade quickly."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, average in self.average.items():
            average.lerp_(parameters[name].detach(), 1 - decay)
