"""Videos and photographs that metrics are tested with."""

from pathlib import Path

import numpy as np
from PIL import Image

from refilm.evaluation.case import Case, Sample
from refilm.media import open_video

from ..real_media import PHOTOGRAPHS, VIDEOS


def photograph(name: str, side: int = 240) -> np.ndarray:
    """A photograph of scikit-image with this shorter side, (H, W, 3) uint8."""
    image = Image.open(PHOTOGRAPHS[name]).convert("RGB")
    factor = side / min(image.size)
    return np.asarray(image.resize((round(image.width * factor), round(image.height * factor))))


def real_video(name: str, frames: int = 17) -> tuple[np.ndarray, float]:
    """The first frames of a real video and its frames per second."""
    video = open_video(VIDEOS[name])
    return video.frames[:frames], video.fps


def sample(
    frames: np.ndarray, *subject: np.ndarray, prompt: str = "a", fps: float = 8, masks: np.ndarray | None = None
) -> Sample:
    """A sample; one image counts as a video of one frame."""
    case = Case("case", prompt, subject=(Path("subject.png"),) * len(subject))
    return Sample(case, frames if frames.ndim == 4 else frames[None], fps, subject, masks)
