"""What one training step of CogVideoX-2B takes, counted without computing it: FLOPs, and bytes of activations.

    python benchmarks/training_memory.py

49 frames of 480 x 720, batch 1, 226 text tokens, all in bfloat16, with a fused attention kernel that keeps no weights.
Runs on `meta` tensors, which have shapes and no content, in some minutes on any machine; writes
benchmarks/results/training_memory.json.

`kept` is what the forward leaves for the backward: every storage that is alive between them, weights and inputs aside.
`peak` is the most at any time of forward and backward, gradients of the trained weights aside. `saved` is the part of
`kept` that autograd itself is asked to save (saved_tensors_hooks); what selective checkpointing keeps isn't in it.
"""

import argparse
import json
import weakref
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from refilm import sizes
from refilm.evaluation import machine
from refilm.model import Adapter, JointAttention, ReferenceAttention, Step, Transformer, freeze_all_but
from refilm.sizes import AdapterSize
from refilm.training.checkpointing import apply_checkpointing
from refilm.training.quantized import parts_of, quantize_base

RESULTS = Path(__file__).parent / "results" / "training_memory.json"
COUNTED = {"tflop": {"none": 370, "full": 498}, "kept_gib": {"none": 30.5, "full": 2.0}}
LATENTS, TEXT, REFERENCE = (1, 13, 16, 60, 90), (1, 226, 4096), (1, 257, 1024)
BF16 = torch.bfloat16


def flash(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The kernel that a GPU takes; on `meta` PyTorch's own choice would be another."""
    return torch.ops.aten._scaled_dot_product_flash_attention(q, k, v)[0]


def model(size: sizes.TransformerSize, what: str) -> tuple[Transformer, nn.Module]:
    """A transformer with an adapter, and the one of them that trains."""
    with torch.device("meta"):
        transformer = Transformer(size).to(BF16)
        if what == "all":
            trained: nn.Module = transformer
        else:
            trained = Adapter(AdapterSize.of(size)).to(BF16)
            trained.attach(transformer)
            freeze_all_but(trained, transformer)
    for module in transformer.modules():
        if isinstance(module, JointAttention | ReferenceAttention):
            module.kernel = flash
    return transformer, trained


def loss(transformer: Transformer, what: str) -> Tensor:
    """The forward."""
    with torch.device("meta"):
        given = [torch.empty(shape, dtype=BF16) for shape in (LATENTS, TEXT, REFERENCE)]
        timestep = torch.empty(1, dtype=torch.long)
    latents, text, reference = given
    return transformer(latents, timestep, text, reference if what == "adapter" else None).float().square().mean()


class Alive(TorchDispatchMode):
    """Bytes of all storages that operations made and that are still alive, but for those given."""

    def __init__(self, aside: nn.Module):
        super().__init__()
        self.aside = {id(weight.untyped_storage()) for weight in weights_of(aside)}
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
        if key not in self.alive and key not in self.aside:
            self.alive[key] = name, storage.nbytes()
            self.bytes += storage.nbytes()
            self.peak = max(self.peak, self.bytes)
            weakref.finalize(storage, self.gone, key)

    def gone(self, key: int) -> None:
        self.bytes -= self.alive.pop(key)[1]


def weights_of(module: nn.Module) -> list[Tensor]:
    """All weights; of those in 8 bits the tensors that they are made of."""
    return [part for weight in (*module.parameters(), *module.buffers()) for part in parts_of(weight)]


def dearer_than(limit: int) -> Step:
    """A step that keeps the outputs of all operations of more than `limit` FLOPs for each byte of their output."""

    def policy(context: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
        formula = flop_registry.get(op.overloadpacket)
        out = [tensor for tensor in tree_leaves(context.op_output) if isinstance(tensor, Tensor)]
        dear = formula and formula(*args, **kwargs, out_val=context.op_output) > limit * sum(t.nbytes for t in out)
        return CheckpointPolicy.MUST_SAVE if dear else CheckpointPolicy.PREFER_RECOMPUTE

    contexts = partial(create_selective_checkpoint_contexts, policy)
    return lambda block, x, conditioning: checkpoint(block, x, conditioning, use_reentrant=False, context_fn=contexts)


def measure(size: sizes.TransformerSize, what: str, prepare: Callable[[Transformer], object]) -> dict[str, Any]:
    """One step."""
    transformer, trained = model(size, what)
    prepare(transformer)
    with FlopCounterMode(display=False) as flops:
        value = loss(transformer, what)
        forward = flops.get_total_flops()
        value.backward()
    trained.zero_grad()
    own = {id(weight.untyped_storage()) for weight in weights_of(transformer)}
    saved: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        saved[id(tensor.untyped_storage())] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value = loss(transformer, what)
    packed = sum(storage.nbytes() for key, storage in saved.items() if key not in own)
    saved.clear()
    del value
    with Alive(transformer) as alive:
        value = loss(transformer, what)
        kept, kinds = alive.bytes, Counter[str]()
        for name, size_ in alive.alive.values():
            kinds[name] += size_
        for weight in trained.parameters():
            weight.register_post_accumulate_grad_hook(forget_gradient)
        value.backward()
    return {
        "forward_tflop": round(forward / 1e12, 2),
        "tflop": round(flops.get_total_flops() / 1e12, 2),
        "kept_gib": gib(kept),
        "saved_gib": gib(packed),
        "peak_gib": gib(alive.peak),
        "kept_by_operation_gib": {name: gib(size_) for name, size_ in kinds.most_common() if gib(size_) >= 0.01},
    }


def forget_gradient(weight: Tensor) -> None:
    weight.grad = None


def gib(count: int) -> float:
    return round(count / 2**30, 3)


def cases() -> dict[str, tuple[str, Callable[[Transformer], object]]]:
    """Name -> (what trains, what is done to the transformer before)."""
    modes = ("none", "selective", "full")
    limits = {16_000: "self-attention", 6_000: "and the MLP's second layer", 1_000: "and all other linear layers"}

    def keep(limit: int, transformer: Transformer) -> None:
        transformer.trunk.step = dearer_than(limit)

    def in_8_bits(mode: Any, transformer: Transformer) -> None:
        quantize_base(transformer)
        apply_checkpointing(transformer, mode)

    return {
        **{f"adapter, {mode}": ("adapter", partial(apply_checkpointing, mode=mode)) for mode in modes},
        **{f"adapter, keep {told}": ("adapter", partial(keep, limit)) for limit, told in limits.items()},
        **{f"adapter, base in 8 bits, {mode}": ("adapter", partial(in_8_bits, mode)) for mode in ("none", "full")},
        **{f"all, {mode}": ("all", partial(apply_checkpointing, mode=mode)) for mode in modes},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="cases whose name holds this; nothing is written then")
    options = parser.parse_args()
    size, result = sizes.cogvideox_2b(), {}
    for name, (what, prepare) in cases().items():
        if options.only is None or options.only in name:
            result[name] = measure(size, what, prepare)
            print(name, json.dumps(result[name]), flush=True)
    told = {"machine": machine(), "model": "CogVideoX-2B", "latents": LATENTS, "text": TEXT, "reference": REFERENCE}
    if options.only is None:
        told |= {"dtype": "bfloat16", "a_careful_count_gave": COUNTED, "steps": result}
        RESULTS.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
