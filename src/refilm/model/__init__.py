"""The parts of a model that all families share, and the adapter. Depends on torch only."""

from refilm.model.adapter import Adapter, ReferenceAttention, freeze_all_but
from refilm.model.attention import KERNELS, Attention, Kernel, TextReader, eager, fused
from refilm.model.backbone import Backbone
from refilm.model.conditioning import Branch, Conditioning, Row, Time, conditional_rows
from refilm.model.finite import FiniteCheck, require_finite
from refilm.model.patching import swapped
from refilm.model.references import References
from refilm.model.trunk import Block, RunBlock, Trunk, WrapBlocks, plain

__all__ = [
    "KERNELS",
    "Adapter",
    "Attention",
    "Backbone",
    "Block",
    "Branch",
    "Conditioning",
    "FiniteCheck",
    "Kernel",
    "ReferenceAttention",
    "References",
    "Row",
    "RunBlock",
    "TextReader",
    "Time",
    "Trunk",
    "WrapBlocks",
    "conditional_rows",
    "eager",
    "freeze_all_but",
    "fused",
    "plain",
    "require_finite",
    "swapped",
]
