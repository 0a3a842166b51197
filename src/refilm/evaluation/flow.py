"""Dense optical flow between frames by OpenCV's DIS (Kroeger et al. 2016, arXiv 1603.03590), and frames between two.

DIS is fast, needs no weights and is the same on every machine with the same OpenCV. It is less exact than RAFT.
"""

from typing import Any

import numpy as np

from refilm.errors import UserError

SIDE = 256
"""Frames are scaled to this shorter side, in pixels, so that flow does not depend on their size."""


def opencv() -> Any:
    """The module of OpenCV.

    Raises:
        UserError: it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise UserError("optical flow needs OpenCV; pip install 'refilm[eval]'") from error
    return cv2


def scaled(frame: np.ndarray) -> np.ndarray:
    """A frame with a shorter side of 256 pixels: (H, W, 3) uint8 -> (H', W', 3) uint8."""
    cv2 = opencv()
    height, width = frame.shape[:2]
    factor = SIDE / min(height, width)
    size = round(width * factor), round(height * factor)
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)


class Dis:
    """DIS flow with OpenCV's preset `medium`.

    Raises:
        UserError: OpenCV is not installed.
    """

    def __init__(self) -> None:
        self.cv2 = opencv()
        self.dis = self.cv2.DISOpticalFlow_create(self.cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.identity = {"flow": f"DIS, preset medium, OpenCV {self.cv2.__version__}, shorter side {SIDE} pixels"}

    def __call__(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Where each pixel of a frame goes in another: two (H, W, 3) uint8 -> (H, W, 2), right and down in pixels."""
        grays = (self.cv2.cvtColor(frame, self.cv2.COLOR_RGB2GRAY) for frame in (one, other))
        return self.dis.calc(*grays, None)

    def between(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """The frame in the middle between two, if everything moves evenly: two (H, W, 3) uint8 -> (H, W, 3) uint8.

        Both frames are moved half of the way and averaged.
        """
        halves = [self._moved(a, -self(a, b) / 2) for a, b in ((one, other), (other, one))]
        return self.cv2.addWeighted(halves[0], 0.5, halves[1], 0.5, 0)

    def _moved(self, frame: np.ndarray, source: np.ndarray) -> np.ndarray:
        """A frame whose pixels come from places that differ by `source`, (H, W, 2); places outside repeat the edge."""
        rows, columns = np.mgrid[: frame.shape[0], : frame.shape[1]].astype(np.float32)
        cv2 = self.cv2
        places = columns + source[..., 0], rows + source[..., 1]
        return cv2.remap(frame, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
