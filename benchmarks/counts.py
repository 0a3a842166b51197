"""What generating a video costs besides time, counted without a GPU: CogVideoX-2B at 49 x 480 x 720 with guidance.

    python benchmarks/counts.py

refilm's pipeline and diffusers' run the first sampler steps of a video on device `meta`, where nothing is computed.
What is counted in a step, and once in a video, before the first step or in it:

- `forwards`: passes of the transformer, each over both branches of guidance; `tflop`: all arithmetic;
- `operators`: operators that compute or copy something, about as many as kernels that a GPU launches without
  compilation; views and allocations are not counted;
- `waits`: values that the CPU reads from the device, and copies to the device that are not asynchronous: for both it
  waits until the device has done all that came before;
- `copied_mb`: what is copied to the device, such as tables, in 10^6 bytes.

A video is what comes once and 50 times a step; all steps but the first are the same. The last step, which is not run,
also waits for the answer whether latents are finite.

Writes benchmarks/results/counts.json, or `--out`.
"""

import argparse
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from diffusers import CogVideoXTransformer3DModel
from gpu import generation
from gpu.generation import VIDEO_STEPS
from gpu.models import Sizes
from record import RESULTS, add_out, target, write
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from refilm.backbones.cogvideox.diffusers_format import config_of
from refilm.weights.fingerprints import base_weights

RESULT = RESULTS / "counts.json"
META, DTYPE = torch.device("meta"), torch.bfloat16
STEPS = 4  # that are counted
Sample = Callable[[Callable[[], None]], Tensor]
"""Samples, with a tick before and after each step."""

_aten = torch.ops.aten
_ALLOCATIONS = {_aten.empty, _aten.empty_like, _aten.empty_strided, _aten.new_empty, _aten.new_empty_strided}
_VIEWS = {_aten.detach, _aten._unsafe_view, _aten._reshape_alias, _aten.lift_fresh}  # besides those that say so
_ATTENTION = _aten.scaled_dot_product_attention


class EnoughStepsError(Exception):
    """Enough steps are counted."""


class Counts(NamedTuple):
    """What was counted so far, or in a step."""

    forwards: int
    flop: int
    operators: int
    waits: int
    copied: int

    def since(self, earlier: "Counts") -> "Counts":
        """What was counted after an earlier moment."""
        return Counts(*(now - then for now, then in zip(self, earlier, strict=True)))

    def facts(self) -> dict[str, Any]:
        """For the result."""
        return {
            "forwards": self.forwards,
            "tflop": round(self.flop / 1e12, 6),
            "operators": self.operators,
            "waits": self.waits,
            "copied_mb": round(self.copied / 1e6, 6),
        }


class Counter(TorchDispatchMode):
    """Counts what happens on the device `meta`."""

    def __init__(self) -> None:
        super().__init__()
        self.operators = self.waits = self.copied = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.overloadpacket is not _ATTENTION:
            with self:
                made = func.decompose(*args, **kwargs)  # so that both libraries' operators are of the same kind
            if made is not NotImplemented:
                return made
        given = on_meta(args, kwargs)
        if func.overloadpacket is _aten._local_scalar_dense and given:
            self.waits += 1
            return value_of(given[0])
        made = func(*args, **kwargs)
        results = on_meta(made)
        if given and not results:
            self.waits += 1
        elif results and not given and any(isinstance(leaf, Tensor) for leaf in tree_leaves((args, kwargs))):
            self.copied += sum(tensor.nbytes for tensor in results)
            self.waits += not kwargs.get("non_blocking", False)
        if results and not is_free(func):
            self.operators += 1
        for tensor in results:
            tensor.differs = compares(func, args) or any(getattr(source, "differs", False) for source in given)
        return made


def compares(func: Any, args: Any) -> bool:
    """Whether an operator compares two tensors: those of a prompt and of no prompt, which differ."""
    return func is _aten.eq.Tensor and args[0] is not args[1]  # a tensor is compared with itself to find NaN


def value_of(tensor: Tensor) -> float | bool:
    """What the CPU reads of a tensor that has no values: whether tensors are equal, which they are not, or finite."""
    return not tensor.differs if tensor.dtype == torch.bool else 1


def on_meta(*values: Any) -> list[Tensor]:
    """The tensors on `meta` among some values."""
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor) and leaf.device == META]


def is_free(func: Any) -> bool:
    """Whether an operator computes nothing: a view, or an allocation."""
    return func.is_view or func.overloadpacket in _VIEWS | _ALLOCATIONS


def counted(transformer: nn.Module, weights: Iterable[Tensor], sample: Sample) -> dict[str, Any]:
    """What sampling costs once, in a step, and in a whole video."""
    ticks: list[Counts] = []
    forwards: list[Any] = []
    hook = transformer.register_forward_pre_hook(lambda *given: forwards.append(None))

    def tick() -> None:
        ticks.append(Counts(len(forwards), flops.get_total_flops(), counter.operators, counter.waits, counter.copied))
        if len(ticks) > STEPS:
            raise EnoughStepsError

    flops, counter = FlopCounterMode(display=False), Counter()
    with torch.inference_mode(), flops, counter, suppress(EnoughStepsError):
        sample(tick)
    hook.remove()
    start, first, *_, last_but_two, last_but_one, last = ticks
    step = last.since(last_but_one)
    assert step == last_but_one.since(last_but_two), "steps differ"
    once = first.since(start).since(step)
    video = Counts(*(rest + VIDEO_STEPS * each for rest, each in zip(once, step, strict=True)))
    return {
        "weights_gb": round(sum(weight.nbytes for weight in weights) / 1e9, 6),
        "once": once.facts(),
        "step": step.facts(),
        "video": video.facts(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    write(out, {"steps": VIDEO_STEPS, **count(Sizes())})


def count(sizes: Sizes) -> dict[str, Any]:
    """The counts of both libraries."""
    given = generation.Inputs.random(sizes, META, DTYPE)
    ours = generation.random_pipeline(sizes, META, DTYPE)
    with META:
        model = CogVideoXTransformer3DModel.from_config(config_of(sizes.transformer)).to(DTYPE).eval()
    theirs = generation.diffusers_pipeline(model)
    how = {"steps": VIDEO_STEPS}
    return {
        "refilm": counted(
            ours.base.transformer,
            base_weights(ours.base.transformer).values(),
            lambda tick: generation.refilm_latents(ours, generation.Mode(), given, **how, tick=tick),
        ),
        "diffusers": counted(
            model,
            model.parameters(),
            lambda tick: generation.diffusers_latents(theirs, given, **how, tick=tick),
        ),
    }


if __name__ == "__main__":
    main()
