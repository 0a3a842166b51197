"""Activation checkpointing (less memory, more computation), and compilation of blocks.

The intermediate results that a block's backward pass needs are either kept or, with activation checkpointing,
recomputed from the block's input (Chen et al. 2016, arXiv:1604.06174). Losses and gradients are bitwise identical.
Train mode and frozen parameters make no difference. Independent of what is trained, and of the loop.
"""

from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.autograd import Variable
from torch.utils.checkpoint import (
    CheckpointPolicy,
    SelectiveCheckpointContext,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from refilm.model import Block, Conditioning, RunBlock, Transformer, plain
from refilm.training.engine.quantized import parts_of

Checkpointing = Literal["none", "selective", "full"]
"""What a block keeps for its backward pass: everything; its input and the attention outputs; only its input."""

_aten = torch.ops.aten
_ATTENTION = (
    _aten._scaled_dot_product_flash_attention.default,
    _aten._scaled_dot_product_efficient_attention.default,
    _aten._scaled_dot_product_cudnn_attention.default,
    _aten._scaled_dot_product_flash_attention_for_cpu.default,
    _aten._scaled_dot_product_fused_attention_overrideable.default,
)


def apply_checkpointing(transformer: Transformer, mode: Checkpointing) -> None:
    """Set how the transformer's blocks are run. The first backward pass checks that they are recomputed.

    Call `compile_blocks` after this: it compiles blocks together with the way they are run.
    """
    transformer.trunk.run_block = plain if mode == "none" else Recomputing(selective=mode == "selective")


def compile_blocks(transformer: Transformer) -> None:
    """Compile every block at its first run; identical blocks share the compiled code."""
    step = transformer.trunk.run_block
    if isinstance(step, Recomputing) and step.selective:
        step.compile()
    else:
        for block in transformer.trunk.blocks:
            block.compile()


class Recomputing:
    """A trunk's `step` that recomputes, in the backward pass, what a block's forward pass does not keep.

    In the first backward pass every block whose output gets a gradient must have run twice. A block without trained
    parameters in or before it is not recomputed.

    Args:
        selective: keep the outputs of self-attention, whose computation grows with the square of the length.
    """

    def __init__(self, *, selective: bool):
        self.selective = selective
        self._run: RunBlock = _selective if selective else _full
        self._compiled = False
        self._proven = False
        self._awaited: list[_Counted] = []

    def __call__(self, block: Block, x: Tensor, conditioning: Conditioning) -> Tensor:
        """Run a block: (B, L, D) -> (B, L, D)."""
        if not torch.is_grad_enabled():
            return block(x, conditioning)
        if self._proven:
            return self._run(block, x, conditioning)
        return (self._weighed if self._compiled else self._counted)(block, x, conditioning)

    def compile(self) -> None:
        """Compile blocks together with the checkpointing policy, which cannot inspect compiled blocks.

        Compiled blocks run no Python when they are recomputed: the check is then the number of bytes they keep.
        """
        self._run, self._compiled = torch.compile(self._run), True

    def _counted(self, block: Block, x: Tensor, conditioning: Conditioning) -> Tensor:
        counted = _Counted(block)
        out = self._run(cast(Block, counted), x, conditioning)
        if out.requires_grad:
            out.register_hook(lambda _: self._await(counted))
        return out

    def _await(self, counted: "_Counted") -> None:
        if not self._awaited:  # the first block in this backward pass
            Variable._execution_engine.queue_callback(self._prove)  # pyright: ignore[reportAttributeAccessIssue]
        self._awaited.append(counted)

    def _prove(self) -> None:
        """Check the number of runs, at the end of a backward pass."""
        runs = [counted.runs for counted in self._awaited]
        self._awaited = []
        assert all(n == 2 for n in runs), f"activation checkpointing is off: the blocks ran {runs} times, not twice"
        self._proven = True

    def _weighed(self, block: Block, x: Tensor, conditioning: Conditioning) -> Tensor:
        out = self._run(block, x, conditioning)
        if out.requires_grad:
            given = (x, conditioning.time, conditioning.reference)
            most = 4 * sum(tensor.nbytes for tensor in given if tensor is not None)
            kept = _kept(out, block)
            assert 0 < kept <= most, f"activation checkpointing is off: a block keeps {kept} bytes, more than {most}"
            self._proven = True
        return out


class _Counted:
    """A block that counts its runs."""

    def __init__(self, block: Block):
        self.block, self.runs = block, 0

    def __call__(self, x: Tensor, conditioning: Conditioning) -> Tensor:
        self.runs += 1
        return self.block(x, conditioning)


def _full(block: Block, x: Tensor, conditioning: Conditioning) -> Tensor:
    return checkpoint(block, x, conditioning, use_reentrant=False)


def _selective(block: Block, x: Tensor, conditioning: Conditioning) -> Tensor:
    contexts = partial(create_selective_checkpoint_contexts, _policy)
    return checkpoint(block, x, conditioning, use_reentrant=False, context_fn=contexts)


def is_self_attention(op: Any, args: tuple[Any, ...]) -> bool:
    """Whether an operation's outputs are those of self-attention, which selective activation checkpointing keeps.

    Of all outputs they need by far the most computation per byte: with 17,776 tokens of 1920 channels in bfloat16
    35,500 FLOPs. The MLP's second layer takes 7,700, the square layers 1,900, attention to 257 reference tokens 500.
    """
    fused = op in _ATTENTION and args[0].shape[-2] == args[1].shape[-2]  # as many queries as keys
    return fused or (op == _aten.bmm.default and args[0].shape[-2] == args[0].shape[-1])  # weights @ v of `eager`


def _policy(context: SelectiveCheckpointContext, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if is_self_attention(op, args) else CheckpointPolicy.PREFER_RECOMPUTE


def _kept(out: Tensor, block: Block) -> int:
    """Bytes that a compiled block keeps for its backward pass, without its weights."""
    weights = {part.untyped_storage().data_ptr() for weight in block.parameters() for part in parts_of(weight)}
    saved = getattr(out.grad_fn, "saved_tensors", ())
    storages = {tensor.untyped_storage().data_ptr(): tensor.nbytes for tensor in saved}
    return sum(size for place, size in storages.items() if place not in weights)
