"""Fitting of linear previews: least squares in closed form, over any number of clips.

Letters: T latent frames, C latent channels, h x w latent pixels; F frames, H x W pixels.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from refilm.encoders import LatentCodec
from refilm.errors import UserError
from refilm.geometry import Compression
from refilm.media.pooling import pooled
from refilm.previews.linear import LinearPreview

Pair = tuple[Tensor, np.ndarray]
"""Latents of a video, (T, C, h, w), and the mean color of each of their pixels, (T, h, w, 3) in 0..255."""


def encoded_pairs(codec: LatentCodec, videos: Iterable[np.ndarray]) -> Iterator[Pair]:
    """Pairs to fit from videos (F, H, W, 3) uint8: their latents' means, and their own colors.

    Raises:
        UserError: the autoencoder does not support the number of frames or the size of a video.
    """
    for video in videos:
        mean, _ = codec.posterior(torch.from_numpy(video)[None])
        yield mean[0], colors_of(video, codec.compression)


def decoded_pairs(codec: LatentCodec, latents: Iterable[Tensor]) -> Iterator[Pair]:
    """Pairs to fit from latents (T, C, h, w), such as those of a cache, and the colors of their decoded videos."""
    for one in latents:
        yield one, colors_of(codec.decode(one[None])[0].cpu().numpy(), codec.compression)


def colors_of(video: np.ndarray, compression: Compression) -> np.ndarray:
    """The mean color of each latent pixel of a video: (F, H, W, 3) uint8 -> (T, h, w, 3) float32 in 0..255."""
    return pooled(video.astype(np.float32), compression)


def fit_preview(pairs: Iterable[Pair], compression: Compression) -> LinearPreview:
    """The linear preview with the least squared error over all latent pixels of the pairs.

    Memory does not depend on the number of pairs: only sums of products are kept (the normal equations, float64).
    Where channels depend on each other, the solution with the smallest weights is taken.

    Args:
        pairs: from `encoded_pairs` or `decoded_pairs`.
        compression: compression factors of the autoencoder.

    Raises:
        UserError: there are no pairs.
    """
    gram, right = None, None
    for latents, colors in pairs:
        pixels = latents.detach().cpu().double().movedim(1, -1).flatten(0, 2)  # (N, C)
        inputs = torch.cat([pixels, torch.ones(len(pixels), 1, dtype=torch.float64)], dim=1)  # (N, C + 1)
        outputs = torch.from_numpy(colors).double().flatten(0, 2) / 127.5 - 1  # (N, 3)
        more = inputs.T @ inputs, inputs.T @ outputs
        gram, right = more if gram is None or right is None else (gram + more[0], right + more[1])
    if gram is None or right is None:
        raise UserError("there are no clips to fit a preview to; give at least one")
    solution = torch.linalg.lstsq(gram, right, driver="gelsd").solution.float()  # (C + 1, 3)
    return LinearPreview(solution[:-1].T.contiguous(), solution[-1].contiguous(), compression)


def correlations(preview: LinearPreview, pairs: Iterable[Pair]) -> list[float]:
    """For each pair the correlation (Pearson's) of the preview's frames with the colors, over all pixels and channels.

    It is NaN where either shows a single value.
    """
    return [correlation(preview.frames(latents), colors) for latents, colors in pairs]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of all values of two arrays of the same shape; NaN where either has a single value."""
    x, y = (one.astype(np.float64) - one.mean(dtype=np.float64) for one in (a, b))
    spread = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum()) / spread if spread else float("nan")
