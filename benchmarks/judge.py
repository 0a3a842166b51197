"""Train the judge of critters on real training clips, and measure it on real held-out ones.

    python benchmarks/judge.py

writes `benchmarks/judge.safetensors` and `benchmarks/results/judge.json`. One core, some minutes. Clips are
drawn on the spot, of subjects of the training split only, and worn a little (blur, noise, tints, shifts), so
that the judge forgives what a small generator cannot do better and no pixel-exact trait gives an answer away.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track as progress
from torch import Tensor

from refilm.data import critters
from refilm.evaluation import ATTRIBUTES, Accuracy, Judge, Row, Verdict, accuracy, as_json, machine, markdown
from refilm.evaluation.judge import as_seen
from refilm.training.loop import LoopSettings, fit
from refilm.training.optimizers import OptimizerSettings

HERE = Path(__file__).parent
SEED = 7_000  # its own stream of stories: the model trains on others
LOOKED_AT = 4  # frames of a clip that the looks are learned from in one step; more teach little more


def real_clip(seed: int, index: int, split: critters.Split, *, size: int = 32) -> tuple[np.ndarray, Verdict]:
    """Clip `index` as the data set draws it, and what is to be seen in it."""
    story = critters.story(seed, index, split)
    return critters.film(story, np.random.default_rng((seed, index, 1)), size=size), Verdict.of(story)


class Pool:
    """A window over an endless stream of training clips: every step draws some new ones in place of the oldest."""

    def __init__(self, count: int):
        self.films = torch.empty(count, critters.FRAMES, 3, 32, 32, dtype=torch.uint8)
        self.labels = torch.empty(count, len(ATTRIBUTES), dtype=torch.long)
        self.drawn = 0
        self.draw(count)

    def draw(self, count: int) -> None:
        for index in range(self.drawn, self.drawn + count):
            film, verdict = real_clip(SEED, index, "train", size=64 if index % 8 == 0 else 32)
            place = index % len(self.films)
            self.films[place] = (255 * as_seen(film)).round().to(torch.uint8)
            self.labels[place] = torch.tensor([ATTRIBUTES[a].index(getattr(verdict, a)) for a in ATTRIBUTES])
        self.drawn += count


class JudgeTask:
    """What `fit` trains: cross-entropy of all six attributes on worn clips."""

    def __init__(self, *, batch: int, pool: int, fresh: int):
        self.module = Judge().to(memory_format=torch.channels_last)
        self.pool, self.batch, self.fresh = Pool(pool), batch, fresh

    def loss(self, step: int) -> dict[str, Tensor]:
        rng = torch.Generator().manual_seed(step)
        self.pool.draw(self.fresh)
        chosen = torch.randint(len(self.pool.films), (self.batch,), generator=rng)
        films = wear(self.pool.films[chosen].float() / 255, rng)
        frames = (17, 17, 13, 9)[step % 4]
        start = int(torch.randint(critters.FRAMES - frames + 1, (), generator=rng))
        films = films[:, start : start + frames]
        logits = self.module.train().looks(films[:, torch.randperm(frames, generator=rng)[:LOOKED_AT]])
        logits["motion"] = self.module.motion(films)
        losses = {
            name: F.cross_entropy(logits[name].float(), self.pool.labels[chosen, i], label_smoothing=0.02)
            for i, name in enumerate(ATTRIBUTES)
        }
        return {"loss": sum(losses.values()), **losses}  # pyright: ignore[reportReturnType]

    def validate(self) -> dict[str, float]:
        return {name: score.share for name, score in measure(self.module, count=200).items()}


def wear(films: Tensor, rng: torch.Generator) -> Tensor:
    """Wear films (B, F, 3, H, W), 0..1, as an imperfect generator would: each film in its own way and strength."""
    B, frames, _, H, W = films.shape
    draw = lambda low, high, *shape: low + (high - low) * torch.rand(B, *shape, 1, 1, generator=rng)  # noqa: E731

    down, right = torch.randint(3, (2,), generator=rng).tolist()  # a pixel's shift
    films = F.pad(films.flatten(0, 1), (1, 1, 1, 1), mode="replicate")[:, :, down : down + H, right : right + W]
    blurred = F.avg_pool2d(F.pad(films, (1, 1, 1, 1), mode="replicate"), 3, stride=1).unflatten(0, (B, frames))
    films = films.unflatten(0, (B, frames)).lerp(blurred, draw(-0.6, 0.8, 1, 1).clamp(min=0))  # over a third stay sharp
    smeared = (films.roll(1, 1) + films.roll(-1, 1)) / 2  # motion blur; the ends keep their own frames
    smeared[:, 0], smeared[:, -1] = films[:, 0], films[:, -1]
    films = films.lerp(smeared, draw(-0.6, 0.6, 1, 1).clamp(min=0))
    films = films * draw(0.93, 1.07, 1, 3) + draw(-0.03, 0.03, 1, 3)  # tint
    flicker = F.interpolate(torch.randn(B * frames, 3, 4, 4, generator=rng), (H, W), mode="bilinear")
    films = films + flicker.unflatten(0, (B, frames)) * draw(0, 0.04, 1, 1)
    return (films + torch.randn(films.shape, generator=rng) * draw(0, 0.04, 1, 1)).clamp(0, 1)


def measure(judge: Judge, *, count: int, size: int = 32) -> dict[str, Accuracy]:
    """The judge's accuracy on real held-out clips."""
    clips = [real_clip(SEED + 1, index, "held_out", size=size) for index in range(count)]
    verdicts = judge.judge([film for film, _ in clips])
    hits = [seen.matches(truth) for seen, (_, truth) in zip(verdicts, clips, strict=True)]
    return {name: accuracy(hit[name] for hit in hits) for name in ATTRIBUTES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--count", type=int, default=1000, help="held-out clips to measure on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE, help="folder of judge.safetensors and results/judge.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    started = time.perf_counter(), time.process_time()
    task = JudgeTask(batch=options.batch, pool=2000, fresh=10)
    optimizer = OptimizerSettings(learning_rate=3e-3, weight_decay=0.02, ema=0, decay_share=0.5)
    settings = LoopSettings(steps=options.steps, save_every=options.steps, validate_every=200, optimizer=optimizer)
    with tempfile.TemporaryDirectory() as folder:
        for done in progress(fit(task, settings, Path(folder)), "judge", total=options.steps):
            if done.scores:
                print(done.step, f"loss {done.loss:.3f}", {name: round(s, 3) for name, s in done.scores.items()})
    seconds, cpu_seconds = time.perf_counter() - started[0], time.process_time() - started[1]

    (options.out / "results").mkdir(parents=True, exist_ok=True)
    task.module.save(options.out / "judge.safetensors")
    judge = Judge.load(options.out / "judge.safetensors")
    rows = [Row(f"real held-out clips, {s} pixels", measure(judge, count=options.count, size=s)) for s in (32, 64)]
    facts = {"seconds": round(seconds), "cpu_seconds": round(cpu_seconds), "clips_drawn": task.pool.drawn}
    result = {"machine": machine(), **facts, "steps": options.steps, "batch": options.batch, "rows": as_json(rows)}
    (options.out / "results" / "judge.json").write_text(json.dumps(result, indent=2) + "\n")
    print(markdown(rows))


if __name__ == "__main__":
    main()
