"""The transformer and its adapter. Depends on torch only."""

from refilm.model.adapter import Adapter, ReferenceAttention, freeze_all_but
from refilm.model.attention import KERNELS, JointAttention, Kernel, eager, fused
from refilm.model.conditioning import Conditioning
from refilm.model.finite import require_finite
from refilm.model.patching import swapped
from refilm.model.transformer import Block, RunBlock, Transformer, Trunk, WrapBlocks, plain

__all__ = [
    "KERNELS",
    "Adapter",
    "Block",
    "Conditioning",
    "JointAttention",
    "Kernel",
    "ReferenceAttention",
    "RunBlock",
    "Transformer",
    "Trunk",
    "WrapBlocks",
    "eager",
    "freeze_all_but",
    "fused",
    "plain",
    "require_finite",
    "swapped",
]
