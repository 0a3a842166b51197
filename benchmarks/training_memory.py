"""FLOPs and activation bytes of one training step and one forward of a base model, counted without computing them.

    python benchmarks/training_memory.py
    python benchmarks/training_memory.py --model cogvideox-1.5-5b

The step has a video of the model's default size, batch 1, all text tokens, and a fused attention kernel that stores no
attention weights. It runs on tensors with shapes but no content, in some minutes on any machine; writes
benchmarks/results/training_memory.json for CogVideoX-2B and training_memory-MODEL.json for others, or `--out`.

`bf16`: everything is bfloat16, even the statistics of norms. `autocast`: as in refilm's training, with the base's
matrices in bfloat16 or 8 bits, trained weights in float32, and norms computed in float32, as autocast does on a GPU.

`kept` is what the forward keeps for the backward: every storage that is alive between them, except weights and inputs.
`peak` is the maximum during forward and backward, except gradients of the trained weights. `saved` is the part of
`kept` that autograd itself saves (saved_tensors_hooks); it excludes what selective activation checkpointing keeps.
"""

import argparse
import json
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import torch
from record import RESULTS, add_out, target, write
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from refilm.backbones import family_of
from refilm.backbones.cogvideox import sizes
from refilm.backbones.wan.sizes import wan_1_3b, wan_14b
from refilm.geometry import AdapterSize, Compression, Geometry
from refilm.model import Adapter, Attention, Backbone, RunBlock, freeze_all_but
from refilm.training.engine.quantized import parts_of, quantize_base
from refilm.training.settings import Checkpointing
from refilm.training.tasks.activation_checkpointing import apply_checkpointing

COUNTED = {"tflop": {"none": 370, "full": 498}, "kept_gib": {"none": 30.5, "full": 2.0}}
REFERENCE = (1, 257, 1024)
BF16 = torch.bfloat16
FAKE = FakeTensorMode(allow_non_fake_inputs=True)  # one for all cases, because tables of positions are reused


def flash(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The kernel that is used on a GPU; without one PyTorch would choose another."""
    return torch.ops.aten._scaled_dot_product_flash_attention(q, k, v)[0]


@dataclass(frozen=True)
class Model:
    """A base model, and its default video."""

    name: str
    size: Geometry
    frames: int
    height: int
    width: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of a step's latents, text and reference."""
        compression = Compression().read_by(self.size)
        frames = compression.latent_frames(self.frames)
        latents = (1, frames, self.size.channels, *compression.latent_size(self.height, self.width))
        return {
            "latents": latents,
            "text": (1, self.size.text_length, self.size.text_dim),
            "reference": REFERENCE,
        }


DEFAULT = "cogvideox-2b"
MODELS = {
    DEFAULT: Model("CogVideoX-2B", sizes.cogvideox_2b(), 49, 480, 720),
    "cogvideox-5b": Model("CogVideoX-5B", sizes.cogvideox_5b(), 49, 480, 720),
    "cogvideox-1.5-5b": Model("CogVideoX1.5-5B", sizes.cogvideox_15_5b(), 81, 768, 1360),
    "wan-2.1-1.3b": Model("Wan2.1-T2V-1.3B", wan_1_3b(), 81, 480, 832),
    "wan-2.1-14b": Model("Wan2.1-T2V-14B", wan_14b(), 81, 480, 832),
}


AnyModule = TypeVar("AnyModule", bound=nn.Module)


def cast(module: AnyModule, dtype: torch.dtype) -> AnyModule:
    """Like `module.to(dtype)`, which fails for tensors without content."""
    for weight in (*module.parameters(), *module.buffers()):
        weight.data = weight.data.to(dtype)
    return module


class Norm(nn.LayerNorm):
    """A LayerNorm that computes in float32 for any input."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.float())


@dataclass(frozen=True)
class Case:
    """A training configuration."""

    what: Literal["adapter", "all"]
    prepare: Callable[[Backbone], object]
    """Applied to the transformer before the step."""
    arithmetic: Literal["bf16", "autocast"] = "bf16"

    def model(self, size: Geometry) -> tuple[Backbone, nn.Module]:
        """The transformer, with an adapter if that is trained, and the module that is trained."""
        transformer = cast(family_of(size).create(size), BF16)
        trained: nn.Module = transformer
        if self.what == "adapter":
            trained = adapter = cast(Adapter(AdapterSize.of(size)), BF16)
            adapter.attach(transformer)
            freeze_all_but(adapter, transformer)
        if self.arithmetic == "autocast":
            cast(trained, torch.float32)
        for module in transformer.modules():
            if isinstance(module, Attention):
                module.kernel = flash
            elif isinstance(module, nn.LayerNorm) and self.arithmetic == "autocast":
                module.__class__ = Norm
                cast(module, torch.float32)
        self.prepare(transformer)
        return transformer, trained

    def loss(self, transformer: Backbone, trained: nn.Module, model: Model) -> Tensor:
        """Run the forward and return a loss."""
        dtype = BF16 if self.arithmetic == "bf16" else torch.float32
        latents, text, reference = (torch.empty(shape, dtype=dtype) for shape in model.shapes.values())
        timestep = torch.empty(1, dtype=torch.long)
        with torch.autocast("cpu", BF16, enabled=self.arithmetic == "autocast"):
            references = trained.references(reference) if isinstance(trained, Adapter) else None
            velocity = transformer(latents, timestep, text, references)
        return velocity.float().square().mean()


class Alive(TorchDispatchMode):
    """Counts the bytes of all storages that operations created and that are alive, except a module's weights."""

    def __init__(self, excluded: nn.Module):
        super().__init__()
        self.excluded = {id(weight.untyped_storage()) for weight in weights_of(excluded)}
        self.alive: dict[int, tuple[str, int]] = {}
        self.bytes = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self.note(str(func.overloadpacket), tensor.untyped_storage())
        return out

    def note(self, name: str, storage: torch.UntypedStorage) -> None:
        key = id(storage)
        if key not in self.alive and key not in self.excluded:
            self.alive[key] = name, storage.nbytes()
            self.bytes += storage.nbytes()
            self.peak = max(self.peak, self.bytes)
            weakref.finalize(storage, self.gone, key)

    def gone(self, key: int) -> None:
        self.bytes -= self.alive.pop(key)[1]


def weights_of(module: nn.Module) -> list[Tensor]:
    """All weights; for 8-bit weights, the tensors that they consist of."""
    return [part for weight in (*module.parameters(), *module.buffers()) for part in parts_of(weight)]


def costlier_than(limit: int) -> RunBlock:
    """Selective checkpointing that keeps outputs of operations with more than `limit` FLOPs per byte of output."""

    def policy(context: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
        formula = flop_registry.get(op.overloadpacket)
        out = [tensor for tensor in tree_leaves(context.op_output) if isinstance(tensor, Tensor)]
        costly = formula and formula(*args, **kwargs, out_val=context.op_output) > limit * sum(t.nbytes for t in out)
        return CheckpointPolicy.MUST_SAVE if costly else CheckpointPolicy.PREFER_RECOMPUTE

    contexts = partial(create_selective_checkpoint_contexts, policy)
    return lambda block, x, conditioning: checkpoint(block, x, conditioning, use_reentrant=False, context_fn=contexts)


def measure(model: Model, case: Case) -> dict[str, Any]:
    """One step, three times, because the counters would disturb each other."""
    with FAKE:
        transformer, trained = case.model(model.size)
        loss = partial(case.loss, transformer, trained, model)
        with FlopCounterMode(display=False) as flops:
            value = loss()
            forward = flops.get_total_flops()
            value.backward()
        trained.zero_grad()
        packed = saved_bytes(loss, transformer)
        for weight in trained.parameters():
            weight.register_post_accumulate_grad_hook(forget_gradient)
        with Alive(transformer) as alive:
            value = loss()
            kept, kinds = alive.bytes, Counter[str]()
            for name, size_ in alive.alive.values():
                kinds[name] += size_
            value.backward()
    return {
        "forward_tflop": round(forward / 1e12, 2),
        "tflop": round(flops.get_total_flops() / 1e12, 2),
        "kept_gib": gib(kept),
        "saved_gib": gib(packed),
        "peak_gib": gib(alive.peak),
        "kept_by_operation_gib": {name: gib(size_) for name, size_ in kinds.most_common() if gib(size_) >= 0.01},
    }


def measure_forward(model: Model) -> dict[str, float]:
    """One forward in bfloat16 without gradients, with a new adapter."""
    case = Case("adapter", lambda _: None)
    with FAKE, torch.no_grad():
        transformer, adapter = case.model(model.size)
        with FlopCounterMode(display=False) as flops:
            case.loss(transformer, adapter, model)
        with Alive(transformer) as alive:
            case.loss(transformer, adapter, model)
    return {"tflop": round(flops.get_total_flops() / 1e12, 2), "peak_gib": gib(alive.peak)}


def saved_bytes(loss: Callable[[], Tensor], transformer: Backbone) -> int:
    """Bytes that autograd saves in a forward, except weights."""
    own = {id(weight.untyped_storage()) for weight in weights_of(transformer)}
    saved: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        saved[id(tensor.untyped_storage())] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss()
    return sum(storage.nbytes() for key, storage in saved.items() if key not in own)


def forget_gradient(weight: Tensor) -> None:
    weight.grad = None


def gib(count: int) -> float:
    return round(count / 2**30, 3)


def cases() -> dict[str, Case]:
    """Training configurations by name."""
    modes: tuple[Checkpointing, ...] = get_args(Checkpointing)
    limits = {16_000: "self-attention", 6_000: "and the MLP's second layer", 1_000: "and all other linear layers"}

    def keep(limit: int, transformer: Backbone) -> None:
        transformer.trunk.run_block = costlier_than(limit)

    def in_8_bits(mode: Checkpointing, transformer: Backbone) -> None:
        quantize_base(transformer)
        apply_checkpointing(transformer, mode)

    plainly = {mode: partial(apply_checkpointing, mode=mode) for mode in modes}
    return {
        **{f"adapter, {mode}": Case("adapter", prepare) for mode, prepare in plainly.items()},
        **{f"adapter, keep {name}": Case("adapter", partial(keep, limit)) for limit, name in limits.items()},
        **{f"adapter, autocast, {mode}": Case("adapter", prepare, "autocast") for mode, prepare in plainly.items()},
        **{
            f"adapter, autocast, base in 8 bits, {mode}": Case("adapter", partial(in_8_bits, mode), "autocast")
            for mode in modes
        },
        **{f"all, {mode}": Case("all", prepare) for mode, prepare in plainly.items()},
        **{f"all, autocast, {mode}": Case("all", prepare, "autocast") for mode, prepare in plainly.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="Run only cases whose name contains this text, and write no file.")
    parser.add_argument("--model", choices=MODELS, default=DEFAULT, help="Base model. Default: %(default)s.")
    add_out(parser, result_of(DEFAULT))
    options = parser.parse_args()
    out = target(parser, options.out, result_of(options.model)) if options.only is None else None
    model, steps = MODELS[options.model], {}
    for name, case in cases().items():
        if options.only is None or options.only in name:
            steps[name] = measure(model, case)
            print(name, json.dumps(steps[name]), flush=True)
    counted = {"a_careful_count_gave": COUNTED} if options.model == DEFAULT else {}
    if out is not None:
        forward = measure_forward(model)
        write(out, {"model": model.name, **model.shapes, **counted, "forward": forward, "steps": steps})


def result_of(model: str) -> Path:
    """The file of a model's result."""
    return RESULTS / ("training_memory.json" if model == DEFAULT else f"training_memory-{model}.json")


if __name__ == "__main__":
    main()
