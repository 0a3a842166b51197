"""Aesthetic score: how much people would like the frames, by LAION's predictor on CLIP ViT-L/14.

The predictor is a stack of linear layers without activations (github.com/christophschuhmann/
improved-aesthetic-predictor), which OpenS2V v1.1 publishes as `aesthetic-model.pth`. VBench uses another one.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from refilm.evaluation.case import Sample
from refilm.evaluation.encoders.clip import CLIP_LARGE, Clip
from refilm.evaluation.frames import FRAMES, frames_rule, spaced
from refilm.evaluation.metric import Column
from refilm.files import sha256_of
from refilm.hub import cached
from refilm.weights.files import refuse_pointer
from refilm.weights.libraries import tried

HEAD = "BestWishYsh/OpenS2V-Weight"
FILE = "aesthetic-model.pth"
WIDTHS = (768, 1024, 128, 64, 16, 1)
PLACES = (0, 2, 4, 6, 7)
"""Numbers of the linear layers in the file; dropout layers are between them."""


class Head(nn.Module):
    """The predictor: a vector of CLIP ViT-L/14 with length 1 -> a score."""

    def __init__(self) -> None:
        super().__init__()
        layers = zip(PLACES, pairwise(WIDTHS), strict=True)
        self.layers = nn.ModuleDict({str(place): nn.Linear(*widths) for place, widths in layers})

    def forward(self, x: Tensor) -> Tensor:
        """(B, 768) -> (B)."""
        for layer in self.layers.values():
            x = layer(x)
        return x[:, 0]


class Aesthetic:
    """The mean predicted score of frames, about 1 (dislike) to 10 (like).

    Args:
        device: device of the encoder.
        frames: number of frames that are scored at most.
        encoder: CLIP ViT-L/14, a folder or `owner/name` in the Hub's cache.
        head: the predictor's file, or `owner/name` in the Hub's cache.

    Raises:
        UserError: the encoder or the predictor is not there or cannot be loaded; says how to fix it.
    """

    columns: ClassVar[Sequence[Column]] = (
        Column("aesthetic", "Predicted liking of the frames, by LAION's predictor: about 1 to 10.", worst=1),
    )

    def __init__(self, device: str = "cpu", *, frames: int = FRAMES, encoder: str = CLIP_LARGE, head: str = HEAD):
        path = Path(head) if Path(head).is_file() else cached(head, FILE) / FILE
        self.head = load_head(path).to(device)
        self.clip, self.frames = Clip(encoder, device), frames
        self.identity = {
            **self.clip.identity,
            "predictor": f"{path.name}, sha256 {sha256_of(path)[:16]}",
            "frames": frames_rule(frames),
        }

    @torch.inference_mode()
    def score(self, sample: Sample) -> Mapping[str, Sequence[float]]:
        """The predicted score of each scored frame."""
        chosen = sample.frames[spaced(len(sample.frames), self.frames)]
        vectors = self.clip.vectors([Image.fromarray(frame) for frame in chosen])
        return {"aesthetic": self.head(F.normalize(vectors, dim=1)).tolist()}


def load_head(path: Path) -> Head:
    """The predictor in a file, which may contain tensors only.

    Raises:
        UserError: the file cannot be loaded, or contains something else.
    """
    refuse_pointer(path)
    stored = tried(path, lambda: torch.load(path, map_location="cpu", weights_only=True))
    head = Head().eval().requires_grad_(False)
    tried(path, lambda: head.load_state_dict(stored))
    return head
