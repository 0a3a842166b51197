"""Activation checkpointing (less memory, more computation), and compilation of blocks.

The intermediate results that a block's backward pass needs are either kept or, with activation checkpointing,
recomputed from the block's input (Chen et al. 2016, arXiv:1604.06174). Losses and gradients are bitwise identical.
Train mode and frozen parameters make no difference. Independent of what is trained, and of the loop.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import (
    CheckpointPolicy,
    SelectiveCheckpointContext,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from refilm.model import Backbone, Block, Conditioning, RunBlock, plain
from refilm.training.settings import Checkpointing

_aten = torch.ops.aten
_ATTENTION = (
    _aten._scaled_dot_product_flash_attention.default,
    _aten._scaled_dot_product_efficient_attention.default,
    _aten._scaled_dot_product_cudnn_attention.default,
    _aten._scaled_dot_product_flash_attention_for_cpu.default,
    _aten._scaled_dot_product_fused_attention_overrideable.default,
)


def apply_checkpointing(transformer: Backbone, mode: Checkpointing) -> None:
    """Set how the transformer's blocks are run.

    Call `compile_blocks` after this: it compiles blocks together with the way they are run.
    """
    transformer.trunk.run_block = plain if mode == "none" else Recomputing(selective=mode == "selective")


def compile_blocks(transformer: Backbone) -> None:
    """Compile every block at its first run; identical blocks share the compiled code."""
    run = transformer.trunk.run_block
    if isinstance(run, Recomputing) and run.selective:
        run.compile()
    else:
        for block in transformer.trunk.blocks:
            block.compile()


class Recomputing:
    """A trunk's `run_block` that recomputes, in the backward pass, what a block's forward pass does not keep.

    A block without trained parameters in or before it is not recomputed.

    Args:
        selective: keep the outputs of self-attention, whose computation grows with the square of the length.
    """

    def __init__(self, *, selective: bool):
        self.selective = selective
        self._run: RunBlock = _selective if selective else _full

    def __call__(self, block: Block, x: Tensor, conditioning: Conditioning) -> Tensor:
        """Run a block: (B, L, D) -> (B, L, D)."""
        return self._run(block, x, conditioning) if torch.is_grad_enabled() else block(x, conditioning)

    def compile(self) -> None:
        """Compile blocks together with the checkpointing policy, which cannot inspect compiled blocks."""
        self._run = torch.compile(self._run)


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
