"""Sampler steps only enqueue work for their device: within a run the CPU never waits for it.

On the device `meta` nothing is computed. A dispatch mode records the operators for which a CPU would wait there: those
that read a value, and copies to the device that are not asynchronous. (A copy from `meta` fails, and so does what needs
values, such as `nonzero`.)
"""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from refilm.diffusion import (
    Condition,
    MagnitudeCache,
    Magnitudes,
    Windows,
    constant,
    gaussian,
    guided,
    limited,
    run,
    windowed,
)
from refilm.diffusion.presets import null_condition
from refilm.diffusion.schedule import scaled_linear
from refilm.errors import NotFiniteError
from refilm.model import FiniteCheck, Trunk, swapped

from ..model.tiny import ROTARY, SINCOS, adapter, inputs, transformer

STEPS = 5


class Waits(TorchDispatchMode):
    """Records the operators that wait for `meta`; every value that is read there is `read`."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.read: Any = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = {leaf.device.type for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        if func is torch.ops.aten._local_scalar_dense.default and "meta" in given:
            self.found.append(str(func))
            return self.read
        made = func(*args, **kwargs)
        results = {leaf.device.type for leaf in tree_leaves(made) if isinstance(leaf, Tensor)}
        copied = given and results and given.isdisjoint(results)
        if copied and not kwargs.get("non_blocking"):
            self.found.append(f"{func}: {given} -> {results}")
        return made


def prediction(size, *, controls, frames=3):
    """A guided prediction of a tiny model on `meta`, with references that have masks, weights and curves or not."""
    model, layer = transformer(size).to("meta"), adapter(size).requires_grad_(False).to("meta")
    layer.attach(model)
    _, _, text, tokens = (one.to("meta") for one in inputs(size, batch=1))
    tokens = tokens[:, None].expand(-1, 2, -1, -1)
    where = torch.ones(1, 2, frames * 4 * 6)
    given = {"weight": torch.rand(1, 2, 6), "where": where, "scale": torch.rand(size.layers, 1, 2)} if controls else {}
    strength = torch.tensor([0.0, 1, 0.5, 0.5, 1])[:, None, None].expand(-1, 1, 2) if controls else None
    references = layer.prepared(layer.references(tokens, **given, binding="joint" if controls else "separate"))
    condition = Condition(text, references, strength)
    scale = limited(constant(3.0), range(1, 4), steps=STEPS) if controls else constant(3.0)
    windows = Windows(frames, 3, 1)
    unconditional = null_condition("ddim", condition)
    return guided(windowed(model, windows), condition, unconditional=unconditional, guidance=scale)


def test_a_step_cache_by_magnitudes_does_not_wait():
    cache = MagnitudeCache(9.0, Magnitudes((999, 0), {"conditional": (0.0, -0.1)}), first=0.0)
    latents, timestep, text, _ = (one.to("meta") for one in inputs(batch=1))
    model = transformer().to("meta")
    with swapped(model, Trunk, wrap_blocks=lambda _: cache), Waits() as waits:
        model(latents, timestep, text)
        waits.found.clear()
        model(latents, timestep, text)
    assert cache.skipped == 1
    assert waits.found == []


@pytest.mark.parametrize(
    ("sampler", "size", "controls", "frames"),
    [("dpmpp-2m-sde", SINCOS, True, 5), ("ddim", ROTARY, False, 3), ("unipc", SINCOS, True, 3)],
)
def test_no_step_waits_for_the_device(sampler, size, controls, frames):
    with Waits() as waits:
        predict = prediction(size, controls=controls, frames=frames)
        draw = gaussian((1, frames, 16, 8, 12), torch.Generator("cpu").manual_seed(0))
        draws = [draw().to("meta") for _ in range(STEPS + 1)]  # on a GPU they are copied from pinned memory
        steps = run(sampler, predict, schedule=scaled_linear(), steps=STEPS, draw=lambda: draws.pop())
        next(steps)  # tables are copied to the device once
        waits.found.clear()
        for _ in range(STEPS - 2):
            next(steps)
        assert waits.found == []
        waits.read = True
        next(steps)
        assert len(waits.found) == STEPS  # the answers whether the latents were finite, after the last step


def test_a_wait_is_recorded():
    with Waits() as waits:
        x = torch.ones(2, device="meta")
        assert not x.any()
        with pytest.raises(NotImplementedError):
            x.to("cpu")
        torch.ones(2).to("meta")
        torch.ones(2).to("meta", non_blocking=True)
    assert len(waits.found) == 2


def test_the_first_step_that_was_not_finite_is_named():
    check, good, bad = FiniteCheck(), torch.ones(2), torch.tensor([1.0, torch.nan])
    check.add(good, maker="one")
    check.report(wait=False)
    check.add(bad, maker="two")
    check.add(bad, maker="three")
    with pytest.raises(NotFiniteError, match="two gave NaN"):
        check.report(wait=True)
