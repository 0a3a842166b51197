"""What the trainings of the judges share: clips drawn on the fly, their degradation, and the loop.

Clips are slightly degraded (blur, noise, tints, shifts), so that a network tolerates the errors of a small generator
and no pixel-exact trait gives an answer away. Does not know what a network learns.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track as progress
from torch import Tensor

from refilm.data.critters import FRAMES
from refilm.encoders.protocols import LatentCodec
from refilm.evaluation.accuracy import Z95
from refilm.training.engine.loop import fit
from refilm.training.settings import LoopSettings, OptimizerSettings
from refilm.training.tasks.task import Reporting, Task

SEED = 7_000  # a stream of stories that the model is not trained on


class Pool:
    """A window over an endless stream of samples: every step replaces the oldest with some new ones.

    Args:
        size: samples in memory at a time.
        draw: sample `index` as tensors whose shapes and dtypes are always the same.
    """

    def __init__(self, size: int, draw: Callable[[int], tuple[Tensor, ...]]):
        self.size, self.draw, self.count = size, draw, 0
        self.columns = tuple(torch.empty(size, *one.shape, dtype=one.dtype) for one in draw(0))
        self.add(size)

    def add(self, count: int) -> None:
        for index in range(self.count, self.count + count):
            for column, value in zip(self.columns, self.draw(index), strict=True):
                column[index % self.size] = value
        self.count += count


class ClassifierTask(Reporting):
    """A task for `fit`: cross-entropy of the appearance in single frames, and of the motion in clips.

    The pool's last column has the number of each attribute's option.
    """

    attributes: tuple[str, ...]

    def __init__(self, pool: Pool, *, fresh: int, images: int, clips: int):
        self.pool, self.fresh, self.images, self.clips = pool, fresh, images, clips

    def appearance(self, chosen: Tensor, moments: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        """Logits of the still attributes in one frame of each chosen sample of the pool."""
        raise NotImplementedError

    def motion(self, chosen: Tensor, part: slice, rng: torch.Generator) -> Tensor:
        """Logits of the motion in a part of each chosen sample of the pool."""
        raise NotImplementedError

    def samples(self, step: int) -> range:
        """The indices of a step's clips."""
        return range(step * self.clips, (step + 1) * self.clips)

    def loss(self, step: int, samples: range) -> dict[str, Tensor]:
        """The losses over all of a step's images and clips, in a single process."""
        rng = torch.Generator().manual_seed(step)
        self.pool.add(self.fresh)
        self.module.train()

        # Appearance: many clips, one frame of each, because the frames of a clip are much alike.
        chosen = torch.randint(self.pool.size, (self.images,), generator=rng)
        moments = torch.randint(FRAMES, (self.images,), generator=rng)
        losses = self._losses(self.appearance(chosen, moments, rng), chosen)

        # Motion: fewer clips, or parts of them.
        chosen = torch.randint(self.pool.size, (self.clips,), generator=rng)
        frames = (17, 17, 13, 9)[step % 4]
        start = int(torch.randint(FRAMES - frames + 1, (), generator=rng))
        losses |= self._losses({"motion": self.motion(chosen, slice(start, start + frames), rng)}, chosen)
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}

    def _losses(self, logits: dict[str, Tensor], chosen: Tensor) -> dict[str, Tensor]:
        truth = dict(zip(self.attributes, self.pool.columns[-1][chosen].T, strict=True))
        return {name: F.cross_entropy(l.float(), truth[name], label_smoothing=0.02) for name, l in logits.items()}


def add_training_options(parser: argparse.ArgumentParser, *, steps: int, count: int, pool: int) -> None:
    """Add the options that every training has."""
    parser.add_argument("--steps", type=int, default=steps, help="Training steps. Default: %(default)s.")
    parser.add_argument("--count", type=int, default=count, help="Held-out clips to measure on. Default: %(default)s.")
    parser.add_argument(
        "--pool", type=int, default=pool, help="Training clips in memory at a time. Default: %(default)s."
    )
    parser.add_argument("--threads", type=int, default=1, help="Threads of torch. Default: %(default)s.")


def train(make: Callable[[], Task], steps: int, *, muon_names: str, every: int = 200) -> tuple[Task, dict[str, Any]]:
    """Train a task in a temporary folder; returns it with the facts of the run. Prints its scores."""
    torch.manual_seed(0)
    started = time.perf_counter(), time.process_time()
    task = make()
    optimizer = OptimizerSettings(
        learning_rate=3e-3,
        muon_learning_rate=2e-2,  # learns three times as fast as AdamW alone
        muon_names=muon_names,
        weight_decay=0.02,
        decay_fraction=0.5,
        warm_up=30,
        ema=0,  # batch norms already average
    )
    settings = LoopSettings(steps=steps, save_every=steps, validate_every=every, optimizer=optimizer)
    with tempfile.TemporaryDirectory() as folder:
        for done in progress(fit(task, settings, Path(folder)), "training", total=steps):
            if done.scores:
                print(done.step, f"loss {done.loss:.3f}", {name: round(s, 3) for name, s in done.scores.items()})
    seconds, cpu_seconds = time.perf_counter() - started[0], time.process_time() - started[1]
    return task, {"seconds": round(seconds), "cpu_seconds": round(cpu_seconds), "steps": steps}


def shift(videos: Tensor, rng: torch.Generator) -> Tensor:
    """Shift all videos (B, F, 3, H, W) by at most a pixel, in the same direction."""
    H, W = videos.shape[-2:]
    down, right = torch.randint(3, (2,), generator=rng).tolist()
    wider = F.pad(videos.flatten(0, 1), (1, 1, 1, 1), mode="replicate")
    return wider[:, :, down : down + H, right : right + W].unflatten(0, videos.shape[:2])


def degrade(videos: Tensor, rng: torch.Generator) -> Tensor:
    """Degrade videos (B, F, 3, H, W), 0..1, like an imperfect generator: each video in its own way and strength."""
    B, frames = videos.shape[:2]
    videos = videos.lerp(_blur(videos, 3), _strength(B, rng, -0.6, 0.8).clamp(min=0))  # over a third stay sharp
    if frames > 1:
        videos = videos.lerp(_smear(videos), _strength(B, rng, -0.6, 0.6).clamp(min=0))
    videos = videos * _strength(B, rng, 0.93, 1.07, 3) + _strength(B, rng, -0.03, 0.03, 3)  # tint
    videos = videos + _patches(videos, 4, rng) * _strength(B, rng, 0, 0.04)  # flicker
    return (videos + torch.randn(videos.shape, generator=rng) * _strength(B, rng, 0, 0.04)).clamp(0, 1)


def stain(videos: Tensor, rng: torch.Generator) -> Tensor:
    """Add the color errors of autoencoders to videos (B, F, 3, H, W): bleeding colors and stains.

    Only for the appearance: flickering stains would teach the motion network to distrust what does not move.
    """
    gray = videos.mean(2, keepdim=True)
    videos = videos.lerp(gray + _blur(videos - gray, 5), _strength(len(videos), rng, -0.5, 0.9).clamp(min=0))
    return videos + _patches(videos, 8, rng) * _strength(len(videos), rng, 0, 0.1)


def through_autoencoder(autoencoder: LatentCodec, videos: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Videos encoded and decoded: an upper bound for any transformer with this autoencoder."""
    latents = (autoencoder.posterior(torch.from_numpy(video)[None])[0] for video in videos)
    return [autoencoder.decode(one)[0].cpu().numpy() for one in latents]


def mean(values: Sequence[float]) -> dict[str, float]:
    """The mean of independent values with its 95 % interval, by the normal distribution."""
    center, reach = float(np.mean(values)), Z95 * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return {"mean": center, "low": center - reach, "high": center + reach, "count": len(values)}


def _strength(B: int, rng: torch.Generator, low: float, high: float, channels: int = 1) -> Tensor:
    """A factor for each video, or for each of its channels: (B, 1, channels, 1, 1)."""
    return low + (high - low) * torch.rand(B, 1, channels, 1, 1, generator=rng)


def _patches(videos: Tensor, side: int, rng: torch.Generator) -> Tensor:
    """Smooth noise of about `side` by `side` patches in every frame, like `videos` in shape."""
    noise = torch.randn(videos.shape[0] * videos.shape[1], 3, side, side, generator=rng)
    return F.interpolate(noise, videos.shape[-2:], mode="bilinear").unflatten(0, videos.shape[:2])


def _blur(videos: Tensor, side: int) -> Tensor:
    """Each pixel as the mean of the square around it."""
    edge = side // 2
    return F.avg_pool2d(F.pad(videos.flatten(0, 1), (edge,) * 4, mode="replicate"), side, stride=1).unflatten(
        0, videos.shape[:2]
    )


def _smear(videos: Tensor) -> Tensor:
    """Each frame as the mean of its neighbors; the first and the last stay."""
    return torch.cat((videos[:, :1], (videos[:, :-2] + videos[:, 2:]) / 2, videos[:, -1:]), dim=1)


def soften(videos: Tensor, rng: torch.Generator) -> Tensor:
    """Remove detail finer than two pixels from videos (B, F, 3, H, W): each by another fraction."""
    coarse = F.avg_pool2d(videos.flatten(0, 1), 2)
    coarse = F.interpolate(coarse, scale_factor=2, mode="bilinear").unflatten(0, videos.shape[:2])
    return videos.lerp(coarse, _strength(len(videos), rng, -0.5, 1.0).clamp(min=0))
