"""CLIP-T: how well the frames show what the prompt says."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch.nn.functional as F
from PIL import Image

from refilm.evaluation.case import Sample
from refilm.evaluation.encoders.clip import CLIP, Clip
from refilm.evaluation.frames import FRAMES, frames_rule, spaced
from refilm.evaluation.metric import Column


class ClipT:
    """Cosine similarity of each frame and the prompt by CLIP ViT-B/32 (Ruiz et al. 2023, DreamBooth, section 4.1).

    Args:
        device: device of the encoder.
        frames: number of frames that are scored at most.
        encoder: a folder, or `owner/name` in the Hub's cache.

    Raises:
        UserError: the encoder is not there.
    """

    columns: ClassVar[Sequence[Column]] = (
        Column("clip_t", "Similarity of frames and prompt by CLIP ViT-B/32: cosine, good matches are near 0.3.", 0),
    )

    def __init__(self, device: str = "cpu", *, frames: int = FRAMES, encoder: str = CLIP):
        self.clip, self.frames = Clip(encoder, device), frames
        self.identity = {**self.clip.identity, "frames": frames_rule(frames), "prompt": "its first 77 tokens"}

    def score(self, sample: Sample) -> Mapping[str, Sequence[float]]:
        """Cosine similarity of each scored frame, -1 to 1."""
        chosen = sample.frames[spaced(len(sample.frames), self.frames)]
        frames = F.normalize(self.clip.vectors([Image.fromarray(frame) for frame in chosen]), dim=1)
        prompt = F.normalize(self.clip.prompt_vectors(sample.case.prompt), dim=1)  # (1, E)
        return {"clip_t": (frames @ prompt.T)[:, 0].tolist()}
