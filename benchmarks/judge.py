"""Train the judge of critters on real training clips, and measure it on real held-out ones.

    python benchmarks/judge.py

writes `benchmarks/judge.safetensors` (or `--weights`) and `benchmarks/results/judge.json` (or `--out`). It takes some
minutes on one core. Clips are drawn on the fly, only of subjects of the training split, and slightly degraded (blur,
noise, tints, shifts), so that the judge tolerates the errors of a small generator and no pixel-exact trait gives an
answer away.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from record import RESULTS, add_out, target, write
from rich.progress import track as progress
from torch import Tensor

from refilm.data import critters
from refilm.evaluation import Accuracy, Row, accuracy, as_json, markdown
from refilm.pocket.judge import ATTRIBUTES, Judge, Judgement, judge_input
from refilm.training.engine.loop import fit
from refilm.training.settings import LoopSettings, OptimizerSettings
from refilm.training.tasks.task import Reporting

RESULT = RESULTS / "judge.json"
WEIGHTS = Path(__file__).parent / "judge.safetensors"
SEED = 7_000  # a stream of stories that the model is not trained on


def real_clip(seed: int, index: int, split: critters.Split, *, size: int = 32) -> tuple[np.ndarray, Judgement]:
    """Clip `index` as the data set draws it, and its true attributes."""
    story = critters.story(seed, index, split)
    return critters.render(story, np.random.default_rng((seed, index, 1)), size=size), Judgement.of(story)


class Pool:
    """A window over an endless stream of training clips: every step replaces the oldest with some new ones."""

    def __init__(self, count: int):
        self.videos = torch.empty(count, critters.FRAMES, 3, 32, 32, dtype=torch.uint8)
        self.labels = torch.empty(count, len(ATTRIBUTES), dtype=torch.long)
        self.count = 0
        self.add(count)

    def add(self, count: int) -> None:
        for index in range(self.count, self.count + count):
            video, truth = real_clip(SEED, index, "train", size=64 if index % 8 == 0 else 32)
            place = index % len(self.videos)
            self.videos[place] = (255 * judge_input(video)).round().to(torch.uint8)
            self.labels[place] = torch.tensor([ATTRIBUTES[a].index(getattr(truth, a)) for a in ATTRIBUTES])
        self.count += count


class JudgeTask(Reporting):
    """The task for `fit`: cross-entropy of the appearance on degraded frames, and of the motion on degraded clips."""

    def __init__(self, *, pool: int, fresh: int, images: int, clips: int):
        self.module = Judge()
        self.pool, self.fresh, self.images, self.clips = Pool(pool), fresh, images, clips

    def samples(self, step: int) -> range:
        """The indices of a step's clips."""
        return range(step * self.clips, (step + 1) * self.clips)

    def loss(self, step: int, samples: range) -> dict[str, Tensor]:
        """The losses over all of a step's images and clips, in a single process."""
        rng = torch.Generator().manual_seed(step)
        self.pool.add(self.fresh)
        self.module.train()

        # Appearance: many clips, one frame of each, because the frames of a clip are much alike.
        chosen = torch.randint(len(self.pool.videos), (self.images,), generator=rng)
        moments = torch.randint(critters.FRAMES, (self.images,), generator=rng)
        images = degrade(stain(self.pool.videos[chosen, moments][:, None].float() / 255, rng), rng)
        losses = self._losses(self.module.looks(images), chosen)

        # Motion: fewer clips, or parts of them.
        chosen = torch.randint(len(self.pool.videos), (self.clips,), generator=rng)
        frames = (17, 17, 13, 9)[step % 4]
        start = int(torch.randint(critters.FRAMES - frames + 1, (), generator=rng))
        clips = degrade(self.pool.videos[chosen, start : start + frames].float() / 255, rng)
        losses |= self._losses({"motion": self.module.motion(clips)}, chosen)
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}

    def _losses(self, logits: dict[str, Tensor], chosen: Tensor) -> dict[str, Tensor]:
        truth = dict(zip(ATTRIBUTES, self.pool.labels[chosen].T, strict=True))
        return {name: F.cross_entropy(l.float(), truth[name], label_smoothing=0.02) for name, l in logits.items()}

    def validate(self) -> dict[str, float]:
        return {name: score.fraction for name, score in measure(self.module, count=200).items()}


def degrade(videos: Tensor, rng: torch.Generator) -> Tensor:
    """Degrade videos (B, F, 3, H, W), 0..1, like an imperfect generator: each video in its own way and strength."""
    B, frames, _, H, W = videos.shape
    down, right = torch.randint(3, (2,), generator=rng).tolist()  # a pixel's shift
    videos = F.pad(videos.flatten(0, 1), (1, 1, 1, 1), mode="replicate")[:, :, down : down + H, right : right + W]
    videos = videos.unflatten(0, (B, frames))
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


def measure(judge: Judge, *, count: int, size: int = 32) -> dict[str, Accuracy]:
    """Accuracy of the judge on real held-out clips."""
    clips = [real_clip(SEED + 1, index, "held_out", size=size) for index in range(count)]
    judgements = judge.judge([video for video, _ in clips])
    hits = [seen.matches(truth) for seen, (_, truth) in zip(judgements, clips, strict=True)]
    return {name: accuracy(hit[name] for hit in hits) for name in ATTRIBUTES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000, help="Training steps. Default: %(default)s.")
    parser.add_argument("--count", type=int, default=1000, help="Held-out clips to measure on. Default: %(default)s.")
    parser.add_argument(
        "--pool", type=int, default=3000, help="Training clips in memory at a time. Default: %(default)s."
    )
    parser.add_argument("--threads", type=int, default=1, help="Threads of torch. Default: %(default)s.")
    add_out(parser, WEIGHTS, "--weights")
    add_out(parser, RESULT)
    options = parser.parse_args()
    weights = target(parser, options.weights, WEIGHTS, "--weights")
    out = target(parser, options.out, RESULT)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    started = time.perf_counter(), time.process_time()
    task = JudgeTask(pool=options.pool, fresh=6, images=128, clips=24)
    optimizer = OptimizerSettings(
        learning_rate=3e-3,
        muon_learning_rate=2e-2,  # learns three times as fast as AdamW alone
        muon_names=r"^(looks\.trunk|motion\.eye)\.",
        weight_decay=0.02,
        decay_fraction=0.5,
        warm_up=30,
        ema=0,  # batch norms already average
    )
    settings = LoopSettings(steps=options.steps, save_every=options.steps, validate_every=200, optimizer=optimizer)
    with tempfile.TemporaryDirectory() as folder:
        for done in progress(fit(task, settings, Path(folder)), "judge", total=options.steps):
            if done.scores:
                print(done.step, f"loss {done.loss:.3f}", {name: round(s, 3) for name, s in done.scores.items()})
    seconds, cpu_seconds = time.perf_counter() - started[0], time.process_time() - started[1]

    task.module.save(weights)
    judge = Judge.load(weights)
    rows = [Row(f"real held-out clips, {s} pixels", measure(judge, count=options.count, size=s)) for s in (32, 64)]
    facts = {"seconds": round(seconds), "cpu_seconds": round(cpu_seconds), "clips_drawn": task.pool.count}
    print(markdown(rows))
    write(out, {**facts, "steps": options.steps, "rows": as_json(rows)})


if __name__ == "__main__":
    main()
