"""The region judge: which critter a masked region of a video shows, and what it does there.

It sees the region alone: each frame is cut out around the mask, scaled to a fixed size, and blanked a little beyond the
mask; beside it, where the region is in the frame and how large. Trained only on real training clips with one and two
critters (`benchmarks/judge_two.py`). Does not know where masks come from.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from refilm.arguments import checked
from refilm.data.critters import DoubleStory, Story, Subject
from refilm.errors import UserError
from refilm.pocket.finder import SIZE
from refilm.pocket.judge import ATTRIBUTES, FEWEST_FRAMES, Appearance, Attributes, Motion
from refilm.pocket.networks import Stored, video_input

CROP = 32
WINDOW = 1.7  # half the width of a cutout, in radii of a disc of the mask's area: the tips of a cone are at 1.6
APPEARANCE = ("color", "second", "shape", "pattern", "eyes")
REGION_ATTRIBUTES = (*APPEARANCE, "motion")


@dataclass(frozen=True)
class SubjectJudgement(Attributes):
    """The attributes that a region shows, or those of the critter that it should show."""

    color: str
    second: str
    shape: str
    pattern: str
    eyes: str
    motion: str

    @classmethod
    def of(cls, subject: Subject, motion: str) -> Self:
        """The judgement of a perfect judge on a perfect video of `subject`."""
        return cls(subject.color, subject.second, subject.shape, subject.pattern, subject.eyes, motion)

    @classmethod
    def all_of(cls, story: Story | DoubleStory) -> tuple[Self, ...]:
        """Those of all subjects of a story, in its order."""
        motions = (story.motion,) if isinstance(story, Story) else story.motions
        return tuple(cls.of(subject, motion) for subject, motion in zip(story.subjects, motions, strict=True))


class RegionJudge(Stored):
    """Classifies regions of videos. Call `judge` on a video and its masks; `forward` is for training."""

    KIND = "region judge"
    SCRIPT = "python benchmarks/judge_two.py"

    def __init__(self):
        super().__init__()
        self.looks = Appearance(APPEARANCE, channels=4)  # named as in `Judge`
        self.motion = Motion(channels=4, numbers=4)

    def forward(self, cutouts: Tensor, poses: Tensor) -> dict[str, Tensor]:
        """What `cut_out` returns, with a batch axis in front -> logits of each attribute, (B, options)."""
        return {**self.classify_looks(cutouts), "motion": self.classify_motion(cutouts, poses)}

    def classify_looks(self, cutouts: Tensor) -> dict[str, Tensor]:
        """Cutouts (B, F, 4, 32, 32) -> logits of each still attribute, (B, options)."""
        return self.looks(_blanked(cutouts))

    def classify_motion(self, cutouts: Tensor, poses: Tensor) -> Tensor:
        """Cutouts (B, F, 4, 32, 32) and poses (B, F, 4) -> logits (B, 10)."""
        return self.motion(_blanked(cutouts), _relative(poses))

    @checked
    def judge(self, video: np.ndarray, masks: np.ndarray) -> SubjectJudgement:
        """Classify the region. Arguments and errors are those of `logits`."""
        logits = self.logits(video, masks)
        return SubjectJudgement(**{a: ATTRIBUTES[a][int(logits[a].argmax())] for a in REGION_ATTRIBUTES})

    @torch.inference_mode()
    @checked
    def logits(self, video: np.ndarray, masks: np.ndarray) -> dict[str, Tensor]:
        """The logits of each attribute, (1, options); frames that do not show the region are ignored for its looks.

        Args:
            video: (F, H, W, 3) uint8, square, at least 9 frames of at least 64 pixels; larger ones are averaged down
                to 64 pixels.
            masks: (F, H, W) bool, square, of at least 64 pixels: the region in each frame; empty where it is not
                visible.

        Raises:
            UserError: the video or the masks have another shape or dtype, or all masks are empty.
        """
        self.eval()
        frames = video_input(video, size=SIZE, fewest=FEWEST_FRAMES)
        cutouts, poses = cut_out(frames, mask_input(masks, len(frames)))
        seen = poses[:, 0] > 0  # frames that show the region
        if not seen.any():
            raise UserError("masks: all are empty; judge only regions that are visible in some frame")
        return {**self.classify_looks(cutouts[None, seen]), "motion": self.classify_motion(cutouts[None], poses[None])}


def mask_input(masks: np.ndarray, frames: int) -> Tensor:
    """Masks (F, H, W) bool as input of the region judge: (F, 64, 64) in 0..1; larger ones are box-filtered."""
    shape = masks.shape
    if masks.dtype != bool or masks.ndim != 3 or len(masks) != frames or shape[1] != shape[2] or shape[1] < SIZE:
        raise UserError(
            f"masks must be ({frames}, H, W) of bool, a square of at least {SIZE} pixels for each frame, "
            f"received {shape} of {masks.dtype}"
        )
    return F.adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(masks)).float()[None], SIZE)[0]


def cut_out(frames: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Cut the masked region out of each frame, scaled so that its area is always the same.

    Args:
        frames: (F, 3, H, W), 0..1.
        masks: (F, H, W), 0..1.

    Returns:
        The cutouts with their masks, (F, 4, 32, 32), and the poses (F, 4): 1 if the mask is not empty, otherwise 0; its
        center x and y, and the radius of a disc of its area, in frame units.
    """
    count, _, height, width = frames.shape
    area = masks.sum((1, 2))  # (F,)
    share = masks / area.clamp(min=1e-6)[:, None, None]
    x = (share.sum(1) * _centers(width)).sum(1)
    y = (share.sum(2) * _centers(height)).sum(1)
    radius = (area / (torch.pi * height * width)).sqrt()

    affine = torch.zeros(count, 2, 3)  # of the coordinates -1..1 of both
    affine[:, 0, 0] = affine[:, 1, 1] = 2 * WINDOW * radius
    affine[:, 0, 2], affine[:, 1, 2] = 2 * x - 1, 2 * y - 1
    grid = F.affine_grid(affine, [count, 4, 2 * CROP, 2 * CROP], align_corners=False)
    layers = torch.cat((frames, masks[:, None]), dim=1)  # (F, 4, H, W)
    cutouts = F.avg_pool2d(F.grid_sample(layers, grid, align_corners=False), 2)  # (F, 4, 32, 32)
    seen = (area > 0).float()
    return cutouts * seen[:, None, None, None], torch.stack((seen, x, y, radius), dim=1) * seen[:, None]


def _centers(count: int) -> Tensor:
    """The centers of pixels in frame units."""
    return (torch.arange(count) + 0.5) / count


def _blanked(cutouts: Tensor) -> Tensor:
    """Cutouts (..., 4, 32, 32) that are gray from about a pixel outside of the mask on."""
    color, mask = cutouts.split((3, 1), dim=-3)
    near = F.max_pool2d(mask.flatten(0, -4), 3, stride=1, padding=1).view_as(mask)
    return torch.cat((0.5 + (color - 0.5) * near, mask), dim=-3)


def _relative(poses: Tensor) -> Tensor:
    """Poses (B, F, 4) relative to their mean over the frames that show the region, scaled to about -1..1."""
    seen, place = poses[..., :1], poses[..., 1:]
    mean = (seen * place).sum(1, keepdim=True) / seen.sum(1, keepdim=True).clamp(min=1)
    x, y, radius = (seen * (place - mean)).split(1, dim=-1)
    return torch.cat((seen, 4 * x, 4 * y, 4 * radius / mean[..., 2:].clamp(min=1e-6)), dim=-1)
