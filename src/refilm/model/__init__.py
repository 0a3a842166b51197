"""The transformer and its adapter. Knows torch alone."""

from refilm.model.adapter import Adapter, ReferenceAttention, freeze_all_but
from refilm.model.attention import JointAttention, Kernel, eager, fused
from refilm.model.conditioning import Conditioning
from refilm.model.seams import swapped
from refilm.model.transformer import Block, Transformer

__all__ = [
    "Adapter",
    "Block",
    "Conditioning",
    "JointAttention",
    "Kernel",
    "ReferenceAttention",
    "Transformer",
    "eager",
    "freeze_all_but",
    "fused",
    "swapped",
]
