"""Cases of a suite, and the videos that answer them. Everything that a metric may see of a video is here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

Control = Literal["right", "wrong", "none", "scale0"]
"""What the model gets as reference: the subject's images, those of another subject, none, or the subject's images at
reference scale 0. Only `right` is what is evaluated; the others show what a score is worth."""


@dataclass(frozen=True)
class Case:
    """One video that a suite asks for."""

    name: str
    """Identifies the case in its suite, and is the stem of the video's file: letters, digits, `-`, `_` and `.`."""
    prompt: str
    subject: tuple[Path, ...]
    """Images of the subject that the video should show; likeness is measured against them in every control."""
    reference: tuple[Path, ...] = ()
    """Images that the model gets; empty in the control `none`."""
    control: Control = "right"
    group: str = ""
    """Cases with the same group are resampled together in intervals and paired in comparisons: those of one prompt."""
    seed: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    """What metrics of this suite need to know, as plain values, such as the attributes of a critter."""


@dataclass(frozen=True)
class Sample:
    """The video of a case, as metrics get it."""

    case: Case
    frames: np.ndarray
    """(F, H, W, 3) uint8, all frames of the video."""
    fps: float
    subject: tuple[np.ndarray, ...]
    """The subject's images, each (H, W, 3) uint8."""
