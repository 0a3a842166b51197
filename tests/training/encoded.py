"""Critters encoded in memory, by a base model's own encoders."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from refilm.checkpoints import Base, load_adapter, load_base
from refilm.data import critters
from refilm.data.encoding import EncodedClip, Entry
from refilm.model import Adapter
from refilm.sizes import AdapterSize
from refilm.training.diffusion import DiffusionSettings, DiffusionTask


@dataclass
class Clips:
    """Encoded clips, as an `EncodedSet` has them."""

    clips: list[EncodedClip]
    entries: list[Entry]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int, /) -> EncodedClip:
        return self.clips[index]

    @property
    def buckets(self) -> dict[tuple[int, int, int], Tensor]:
        shapes = [(clip.mean.shape[0], *clip.mean.shape[2:]) for clip in self.clips]
        return {
            shape: torch.tensor([i for i, other in enumerate(shapes) if other == shape]) for shape in sorted(set(shapes))
        }
