"""The judge: small networks that classify which critter a video shows, where, and what it does.

Two independent networks: one classifies subject and scene from single frames, pooled over space and time; the other
classifies the motion from the differences between frames. Both are trained only on real training clips
(`benchmarks/judge.py`), never on generated videos. Does not know how a video was made.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from refilm.arguments import checked
from refilm.data.critters import COLORS, EYES, MOTIONS, PATTERNS, SCENES, SHAPES, Story
from refilm.pocket.networks import Stored, conv, video_input

WEIGHTS = Path(__file__).with_name("judge.safetensors")
SIZE = 32
FEWEST_FRAMES = 9
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "color": tuple(COLORS),
    "second": tuple(COLORS),
    "shape": SHAPES,
    "pattern": PATTERNS,
    "eyes": EYES,
    "scene": tuple(SCENES),
    "motion": tuple(MOTIONS),
}
STILL_ATTRIBUTES = ("color", "second", "shape", "pattern", "eyes", "scene")


@dataclass(frozen=True)
class Attributes:
    """Attributes that can be compared."""

    def matches(self, other: Self) -> dict[str, bool]:
        """For each attribute, whether both agree."""
        mine, theirs = asdict(self), asdict(other)
        return {name: mine[name] == theirs[name] for name in mine}


@dataclass(frozen=True)
class Judgement(Attributes):
    """The attributes that the judge finds in a video, or those of the story that the video should show."""

    color: str
    second: str
    shape: str
    pattern: str
    eyes: str
    scene: str
    motion: str

    @classmethod
    def of(cls, story: Story) -> Self:
        """The judgement of a perfect judge on a perfect video of `story`."""
        who = story.subject
        return cls(who.color, who.second, who.shape, who.pattern, who.eyes, story.scene, story.motion)


class Appearance(nn.Module):
    """Classifies still attributes: each frame on its own, then attention over all places of all frames."""

    def __init__(self, names: tuple[str, ...] = STILL_ATTRIBUTES, *, channels: int = 3, width: int = 24):
        super().__init__()
        self.trunk = nn.Sequential(
            conv(channels, width),
            conv(width, 2 * width, stride=2),
            conv(2 * width, 2 * width),
            conv(2 * width, 4 * width, stride=2),
            conv(4 * width, 4 * width),
            conv(4 * width, 4 * width),
        )
        self.names = names
        self.attention = nn.Linear(4 * width, len(names))
        self.heads = nn.ModuleDict({name: nn.Linear(4 * width, len(ATTRIBUTES[name])) for name in names})

    def forward(self, videos: Tensor) -> dict[str, Tensor]:
        """`videos` (B, F, C, 32, 32) in 0..1 -> logits of each attribute, (B, options)."""
        x = self.trunk(2 * videos.flatten(0, 1) - 1)  # (B F, D, 8, 8)
        x = rearrange(x, "(b f) d h w -> b (f h w) d", b=len(videos))
        pooled = self.attention(x).softmax(1).transpose(1, 2) @ x  # (B, A, D)
        return {name: self.heads[name](pooled[:, i]) for i, name in enumerate(self.names)}


class Motion(nn.Module):
    """Classifies the motion: each frame and its difference from the video's mean, then convolutions over time."""

    def __init__(self, *, channels: int = 3, numbers: int = 0, width: int = 16, depth: int = 64):
        super().__init__()
        self.eye = nn.Sequential(
            conv(2 * channels, width, stride=2), conv(width, 2 * width, stride=2), conv(2 * width, width), nn.Flatten()
        )
        self.place = nn.Linear(width * (SIZE // 4) ** 2, depth)
        self.time = nn.Sequential(
            nn.Conv1d(depth + numbers, depth, 5, padding=2), nn.ReLU(), nn.Conv1d(depth, depth, 5, padding=2), nn.ReLU()
        )
        self.head = nn.Linear(2 * depth, len(ATTRIBUTES["motion"]))

    def forward(self, videos: Tensor, numbers: Tensor | None = None) -> Tensor:
        """`videos` (B, F, C, 32, 32) in 0..1 and further numbers of each frame (B, F, N) -> logits (B, 10)."""
        seen = torch.cat((2 * videos - 1, 4 * (videos - videos.mean(1, keepdim=True))), dim=2)  # (B, F, 2 C, 32, 32)
        x = self.place(self.eye(seen.flatten(0, 1))).unflatten(0, videos.shape[:2])  # (B, F, D)
        x = x if numbers is None else torch.cat((x, numbers), dim=2)  # (B, F, D + N)
        x = self.time(x.transpose(1, 2))  # (B, D, F)
        return self.head(torch.cat((x.mean(-1), x.amax(-1)), dim=-1))


class Judge(Stored):
    """Classifies videos of critters. Call `judge` on videos; `forward` is for training."""

    KIND = "judge"
    SCRIPT = "python benchmarks/judge.py"

    def __init__(self):
        super().__init__()
        self.looks = Appearance()  # the attribute's name is part of the weights file
        self.motion = Motion()

    def forward(self, videos: Tensor) -> dict[str, Tensor]:
        """`videos` (B, F, 3, 32, 32) in 0..1 -> logits of each attribute, (B, options)."""
        return {**self.looks(videos), "motion": self.motion(videos)}

    @torch.inference_mode()
    @checked
    def judge(self, videos: Sequence[np.ndarray]) -> list[Judgement]:
        """Classify each video.

        Args:
            videos: each (F, H, W, 3) uint8, square, at least 9 frames of at least 32 pixels; larger ones
                are averaged down to 32 pixels.

        Raises:
            UserError: a video has another shape or dtype.
        """
        self.eval()
        judgements = []
        for video in videos:
            logits = self(judge_input(video)[None])
            judgements.append(Judgement(**{name: ATTRIBUTES[name][int(logits[name].argmax())] for name in ATTRIBUTES}))
        return judgements

    @torch.inference_mode()
    @checked
    def judge_frames(self, video: np.ndarray) -> list[dict[str, str]]:
        """Classify the still attributes of a video in each of its frames by itself.

        Args:
            video: as in `judge`.

        Raises:
            UserError: the video has another shape or dtype.
        """
        self.eval()
        logits = self.looks(judge_input(video)[:, None])  # (F, options)
        found = {name: logits[name].argmax(1).tolist() for name in STILL_ATTRIBUTES}
        return [{name: ATTRIBUTES[name][found[name][frame]] for name in found} for frame in range(len(video))]


def judge_input(video: np.ndarray) -> Tensor:
    """A video (F, H, W, 3) uint8 as input of the judge: (F, 3, 32, 32) in 0..1; larger videos are box-filtered."""
    return video_input(video, size=SIZE, fewest=FEWEST_FRAMES)
