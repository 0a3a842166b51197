"""SAT (SwissArmyTransformer), CogVideoX's own format, as a `refilm.backbones.NativeFormat`."""

from pathlib import Path

import torch
from torch import nn

from refilm.backbones.cogvideox.autoencoder import save_autoencoder
from refilm.backbones.cogvideox.sat import has_sat_keys as has_keys
from refilm.backbones.cogvideox.sat import is_sat as is_checkpoint
from refilm.backbones.cogvideox.sat import open_sat as open_file
from refilm.backbones.cogvideox.sat import save_sat as save
from refilm.backbones.cogvideox.sat_autoencoder import SCALES, load_sat_autoencoder
from refilm.backbones.cogvideox.sat_autoencoder import describe_sat_autoencoder as describe_autoencoder
from refilm.backbones.cogvideox.sat_autoencoder import find_sat_autoencoder as find_autoencoder
from refilm.backbones.cogvideox.sat_autoencoder import is_sat_autoencoder as is_autoencoder
from refilm.backbones.cogvideox.sat_sizes import HEAD_NORM_EPS
from refilm.backbones.cogvideox.sat_source import SatSource
from refilm.backbones.cogvideox.sat_source import find_t5 as find_text_encoder
from refilm.backbones.cogvideox.sizes import TransformerSize
from refilm.backbones.cogvideox.transformer import Transformer

NAME = "SAT"

__all__ = [
    "NAME",
    "autoencoder",
    "can_contain",
    "describe_autoencoder",
    "differences",
    "find_autoencoder",
    "find_text_encoder",
    "has_keys",
    "is_autoencoder",
    "is_checkpoint",
    "open_file",
    "save",
    "save_autoencoder",
    "source",
]


def can_contain(size: TransformerSize) -> bool:
    """Whether the format has transformers of that size: not those of CogVideoX 1.5."""
    return size.patch_time == 1


def source(folder: Path) -> SatSource:
    """The source of a base model in this format."""
    return SatSource(folder)


def autoencoder(path: Path, size: TransformerSize | None, *, dtype: torch.dtype | None) -> tuple[nn.Module, str]:
    """Load an autoencoder for a transformer of that size (default: 2B's), with a note on its latent scaling."""
    position = "sincos" if size is None else size.position
    note = f"scaling_factor is CogVideoX-2B's, {SCALES['sincos']}; for 5B write {SCALES['rotary']} into config.json"
    return load_sat_autoencoder(path, scaling_factor=SCALES[position], dtype=dtype), note


def differences(transformer: Transformer) -> list[str]:
    """Notes about what SAT cannot express."""
    if transformer.size.head_norm_eps == HEAD_NORM_EPS:
        return []
    return ["the last norm has epsilon 1e-6 in SAT and 1e-5 in diffusers: outputs differ by about 1e-5"]
