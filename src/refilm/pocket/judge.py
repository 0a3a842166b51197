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
import safetensors.torch
import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors import SafetensorError
from torch import Tensor, nn

from refilm.arguments import checked
from refilm.data.critters import COLORS, EYES, MOTIONS, PATTERNS, SCENES, SHAPES, Story
from refilm.errors import UserError

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
class Judgement:
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

    def matches(self, other: "Judgement") -> dict[str, bool]:
        """For each attribute, whether both agree."""
        mine, theirs = asdict(self), asdict(other)
        return {name: mine[name] == theirs[name] for name in ATTRIBUTES}


def _conv(into: int, out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU())


class Appearance(nn.Module):
    """Classifies subject and scene: each frame on its own, then attention over all places of all frames."""

    def __init__(self, width: int = 24):
        super().__init__()
        self.trunk = nn.Sequential(
            _conv(3, width),
            _conv(width, 2 * width, stride=2),
            _conv(2 * width, 2 * width),
            _conv(2 * width, 4 * width, stride=2),
            _conv(4 * width, 4 * width),
            _conv(4 * width, 4 * width),
        )
        self.names = STILL_ATTRIBUTES
        self.attention = nn.Linear(4 * width, len(STILL_ATTRIBUTES))
        self.heads = nn.ModuleDict({name: nn.Linear(4 * width, len(ATTRIBUTES[name])) for name in STILL_ATTRIBUTES})

    def forward(self, videos: Tensor) -> dict[str, Tensor]:
        """`videos` (B, F, 3, 32, 32) in 0..1 -> logits of each attribute, (B, options)."""
        x = self.trunk(2 * videos.flatten(0, 1) - 1)  # (B F, D, 8, 8)
        x = rearrange(x, "(b f) d h w -> b (f h w) d", b=len(videos))
        pooled = self.attention(x).softmax(1).transpose(1, 2) @ x  # (B, A, D)
        return {name: self.heads[name](pooled[:, i]) for i, name in enumerate(self.names)}


class Motion(nn.Module):
    """Classifies the motion: each frame and its difference from the video's mean, then convolutions over time."""

    def __init__(self, width: int = 16, depth: int = 64):
        super().__init__()
        self.eye = nn.Sequential(
            _conv(6, width, stride=2), _conv(width, 2 * width, stride=2), _conv(2 * width, width), nn.Flatten()
        )
        self.place = nn.Linear(width * (SIZE // 4) ** 2, depth)
        self.time = nn.Sequential(
            nn.Conv1d(depth, depth, 5, padding=2), nn.ReLU(), nn.Conv1d(depth, depth, 5, padding=2), nn.ReLU()
        )
        self.head = nn.Linear(2 * depth, len(ATTRIBUTES["motion"]))

    def forward(self, videos: Tensor) -> Tensor:
        """`videos` (B, F, 3, 32, 32) in 0..1 -> logits (B, 10)."""
        seen = torch.cat((2 * videos - 1, 4 * (videos - videos.mean(1, keepdim=True))), dim=2)  # (B, F, 6, 32, 32)
        x = self.place(self.eye(seen.flatten(0, 1))).unflatten(0, videos.shape[:2])  # (B, F, D)
        x = self.time(x.transpose(1, 2))  # (B, D, F)
        return self.head(torch.cat((x.mean(-1), x.amax(-1)), dim=-1))


class Judge(nn.Module):
    """Classifies videos of critters. Call `judge` on videos; `forward` is for training."""

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

    @checked
    def save(self, path: Path | str) -> None:
        """Write the weights in fp16."""
        safetensors.torch.save_file(
            {name: (t.half() if t.is_floating_point() else t).contiguous() for name, t in self.state_dict().items()},
            path,
        )

    @classmethod
    @checked
    def load(cls, path: Path | str) -> Self:
        """Load a judge that `save` wrote, in fp32.

        Raises:
            UserError: the file does not exist, or contains something else.
        """
        if not Path(path).is_file():
            raise UserError(f"{path}: no such file; train a judge with `python benchmarks/judge.py`")
        judge = cls()
        try:
            judge.load_state_dict(safetensors.torch.load_file(path))
        except (SafetensorError, RuntimeError) as error:
            raise UserError(
                f"{path}: not the weights of this version's judge: {error}; train one with `python benchmarks/judge.py`"
            ) from error
        return judge.eval()


def judge_input(video: np.ndarray) -> Tensor:
    """A video (F, H, W, 3) uint8 as input of the judge: (F, 3, 32, 32) in 0..1; larger videos are box-filtered."""
    shape = video.shape
    if video.dtype != np.uint8 or video.ndim != 4 or shape[3] != 3:
        raise UserError(f"a video must be (F, H, W, 3) of uint8, received {shape} of {video.dtype}")
    if shape[0] < FEWEST_FRAMES or shape[1] != shape[2] or shape[1] < SIZE:
        raise UserError(
            f"a video must be square, with at least {FEWEST_FRAMES} frames of at least {SIZE} pixels, "
            f"received {shape[0]} frames of {shape[1]} x {shape[2]}"
        )
    frames = torch.from_numpy(np.ascontiguousarray(video)).permute(0, 3, 1, 2).float() / 255  # (F, 3, H, W)
    return F.adaptive_avg_pool2d(frames, SIZE)
