"""Cases of a suite, and the videos that answer them. Everything that a metric may see of a video is here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from refilm.errors import UserError

Control = Literal["right", "wrong", "none", "scale0"]
"""What the model gets as reference: the subject's images, those of another subject, none, or the subject's images at
reference scale 0. Only `right` is what is evaluated; the others show what a score is worth."""
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,149}")
LONGEST_PROMPT = 65536  # characters, the limit of result files
SURROGATE = re.compile("[\ud800-\udfff]")  # halves of characters, which JSON can contain but no file can


@dataclass(frozen=True)
class Case:
    """One video that a suite asks for.

    Raises:
        UserError: the name cannot be that of a file, or the prompt cannot be written to one.
    """

    name: str
    """Identifies the case in its suite, and is the stem of the video's file: letters, digits, `-`, `_` and `.`,
    at most 150."""
    prompt: str
    subject: tuple[Path, ...]
    """Images of the subject that the video should show; likeness is measured against them in every control."""
    reference: tuple[Path, ...] = ()
    """Images that the model gets; empty in the control `none`."""
    control: Control = "right"
    group: str = ""
    """Cases with the same group are resampled together in intervals and paired in comparisons. Default: the prompt."""
    seed: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    """What metrics of this suite need to know, as plain values, such as the attributes of a critter."""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise UserError(
                f"case {self.name!r:.200}: must be 1 to 150 letters, digits, -, _ or ., and not start with a dot; it "
                "names a file"
            )
        if len(self.prompt) > LONGEST_PROMPT or SURROGATE.search(self.prompt):
            raise UserError(
                f"case {self.name}: the prompt must be at most {LONGEST_PROMPT:,} valid characters; correct it"
            )
        if not self.group:
            object.__setattr__(self, "group", self.prompt)


@dataclass(frozen=True)
class Sample:
    """The video of a case, as metrics get it."""

    case: Case
    frames: np.ndarray
    """(F, H, W, 3) uint8, all frames of the video."""
    fps: float
    subject: tuple[np.ndarray, ...]
    """The subject's images, each (H, W, 3) uint8."""
    masks: np.ndarray | None = None
    """(F, H, W) bool, true where the subject is in each frame. Default: unknown."""
    subject_masks: tuple[np.ndarray | None, ...] = ()
    """(H, W) bool for each of the subject's images, true where the subject is. Default: unknown."""
