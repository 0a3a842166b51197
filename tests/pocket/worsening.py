"""Errors of a small generator, on videos (F, H, W, 3) uint8."""

import numpy as np


def blurred(video: np.ndarray) -> np.ndarray:
    """Each pixel as the mean of itself and its eight neighbors."""
    around = [np.roll(video.astype(np.float32), (dy, dx), (1, 2)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return np.mean(around, axis=0).round().astype(np.uint8)


def shifted(video: np.ndarray) -> np.ndarray:
    """The video, moved by a pixel."""
    return np.roll(video, (1, -1), (1, 2))


def noisy(video: np.ndarray) -> np.ndarray:
    """The video with noise in every pixel."""
    noise = np.random.default_rng(0).normal(0, 8, video.shape)
    return np.clip(video + noise, 0, 255).astype(np.uint8)
