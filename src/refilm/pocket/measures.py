"""How well a video obeys controls: masks, cues in time, and the subject of its story. Pure functions.

Does not know how a video was made, nor how its critters were found.
"""

import numpy as np

from refilm.arguments import checked
from refilm.data.critters import Subject
from refilm.errors import UserError
from refilm.pocket.judge import Judgement
from refilm.pocket.region_judge import APPEARANCE, SubjectJudgement


@checked
def fraction_inside(critter: np.ndarray, mask: np.ndarray) -> float:
    """The fraction of a critter's pixels, over all frames, that are inside a mask; 0 if it has no pixels.

    Args:
        critter: (F, H, W) bool.
        mask: (H, W) bool, or one for each frame, (F, H, W).

    Raises:
        UserError: the shapes do not fit, or a dtype is not bool.
    """
    if critter.ndim != 3 or mask.shape not in (critter.shape, critter.shape[1:]):
        raise UserError(f"mask: must be (H, W) or (F, H, W) like the critter's {critter.shape}, received {mask.shape}")
    if critter.dtype != bool or mask.dtype != bool:
        raise UserError(f"critter and mask: must be of bool, received {critter.dtype} and {mask.dtype}")
    return float((critter & mask).sum() / max(critter.sum(), 1))


@checked
def presence(critter: np.ndarray) -> np.ndarray:
    """The fraction of each frame's area that a critter covers: (F, H, W) bool -> (F,), 0..1."""
    return critter.mean((1, 2))


@checked
def likeness(seen: Judgement | SubjectJudgement, subject: Subject) -> float:
    """The fraction of the subject's five attributes (colors, shape, pattern, eyes) that were judged right."""
    return float(np.mean([getattr(seen, name) == getattr(subject, name) for name in APPEARANCE]))
