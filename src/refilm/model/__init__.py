"""The transformer and its adapter. Knows torch alone."""

from refilm.model.adapter import Adapter, ReferenceAttention, freeze_all_but
from refilm.model.attention import KERNELS, JointAttention, Kernel, eager, fused
from refilm.model.conditioning import Conditioning
from refilm.model.finite import require_finite
from refilm.model.seams import swapped
from refilm.model.transformer import Around, Block, Step, Transformer, Trunk, plain

__all__ = [
    "KERNELS",
    "Adapter",
    "Around",
    "Block",
    "Conditioning",
    "JointAttention",
    "Kernel",
    "ReferenceAttention",
    "Step",
    "Transformer",
    "Trunk",
    "eager",
    "freeze_all_but",
    "fused",
    "plain",
    "require_finite",
    "swapped",
]
