"""Train the finder of critters on real training clips, and measure it on real held-out ones.

    python benchmarks/finder.py

writes `benchmarks/finder.safetensors` (or `--weights`) and `benchmarks/results/finder.json` (or `--out`). It takes some
minutes on one core. Of eight clips, one shows a scene without critters, three show one critter, four show two; their
masks come with the drawing. Frames are degraded (`judging.py`). Every clip is measured as drawn and after the
pocket model's autoencoder.
"""

import argparse
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from judging import SEED, Pool, add_training_options, degrade, mean, soften, stain, through_autoencoder, train
from record import RESULTS, add_out, target, write
from torch import Tensor

from refilm.checkpoints import load_base
from refilm.data import critters
from refilm.data.critters.scenes import paint_scene
from refilm.evaluation import accuracy
from refilm.pocket.finder import CLASSES, SIZE, Finder
from refilm.pocket.regions import regions
from refilm.training.tasks.task import Reporting

RESULT = RESULTS / "finder.json"
WEIGHTS = Path(__file__).parent / "finder.safetensors"


def story_of(seed: int, index: int, split: critters.Split, *, subjects: int) -> critters.Story | critters.DoubleStory:
    """The story of clip `index` with one or two subjects."""
    return (critters.story if subjects == 1 else critters.double_story)(seed, index, split)


def classes(story: critters.Story | critters.DoubleStory, masks: np.ndarray) -> np.ndarray:
    """The class of each pixel: masks (S, F, H, W) -> (F, H, W) uint8."""
    labels = np.zeros(masks.shape[1:], dtype=np.uint8)
    for subject, mask in zip(story.subjects, masks, strict=True):
        labels[mask] = CLASSES.index(subject.shape)
    return labels


def training_frames(index: int) -> tuple[Tensor, Tensor]:
    """Three frames in a row of clip `index`, (3, 3, 64, 64) uint8, and the classes of the middle one, (64, 64)."""
    rng = np.random.default_rng((SEED, index, 2))
    story = story_of(SEED, index, "train", subjects=1 + index % 2)
    start = int(rng.integers(critters.FRAMES - 2))
    frames, masks = critters.shoot(story, rng, size=SIZE, start=start, frames=3)
    if index % 8 == 0:
        frames, masks = scene(story.scene, rng, frames=3), np.zeros_like(masks)
    return torch.from_numpy(frames).permute(0, 3, 1, 2), torch.from_numpy(classes(story, masks)[1])


def scene(name: str, rng: np.random.Generator, *, frames: int) -> np.ndarray:
    """Frames of a scene without critters, (F, 64, 64, 3) uint8."""
    return np.repeat(paint_scene(name, SIZE, rng).round().astype(np.uint8)[None], frames, axis=0)


class FinderTask(Reporting):
    """The task for `fit`: cross-entropy of each pixel of degraded frames."""

    def __init__(self, *, pool: int, fresh: int, batch: int):
        self.module = Finder()
        self.pool, self.fresh, self.batch = Pool(pool, training_frames), fresh, batch

    def samples(self, step: int) -> range:
        """The indices of a step's frames."""
        return range(step * self.batch, (step + 1) * self.batch)

    def loss(self, step: int, samples: range) -> dict[str, Tensor]:
        """The loss over all of a step's frames, in a single process."""
        rng = torch.Generator().manual_seed(step)
        self.pool.add(self.fresh)
        self.module.train()
        frames, truth = self.pool.columns
        chosen = torch.randint(len(frames), (self.batch,), generator=rng)
        seen = degrade(soften(stain(frames[chosen].float() / 255, rng), rng), rng)
        return {"loss": F.cross_entropy(self.module(seen).float(), truth[chosen].long())}

    def validate(self) -> dict[str, float]:
        clips = [shot(index, subjects=2) for index in range(20)]
        row = measure(self.module, clips, [frames for frames, _ in clips])
        return {name: score["mean"] for name, score in row.items()}


def shot(index: int, *, subjects: int) -> tuple[np.ndarray, np.ndarray]:
    """Held-out clip `index` at 64 pixels, (F, 64, 64, 3), and the class of each pixel, (F, 64, 64)."""
    story = story_of(SEED + 1, index, "held_out", subjects=subjects)
    frames, masks = critters.shoot(story, np.random.default_rng((SEED + 1, index, 2)), size=SIZE)
    return frames, classes(story, masks)


def measure(
    finder: Finder, clips: Sequence[tuple[np.ndarray, np.ndarray]], videos: Sequence[np.ndarray]
) -> dict[str, dict[str, float]]:
    """Means over clips: how well masks overlap, and how many pixels that were found have the right shape.

    `iou` is intersection over union, of all pixels of critters; `iou_by_shape` that of each shape in the clip.
    """
    overlaps, by_shape, shapes = [], [], []
    for (_, truth), video in zip(clips, videos, strict=True):
        found = finder.find(video).argmax(1)
        overlaps.append(iou(found > 0, truth > 0))
        by_shape.append(float(np.mean([iou(found == one, truth == one) for one in np.unique(truth) if one])))
        both = (found > 0) & (truth > 0)
        shapes.append(float((found == truth)[both].sum() / max(both.sum(), 1)))
    return {"iou": mean(overlaps), "iou_by_shape": mean(by_shape), "shape": mean(shapes)}


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return float((one & other).sum() / (one | other).sum())


def rows(finder: Finder, count: int) -> list[dict[str, Any]]:
    """Each kind of clip, as drawn and after the autoencoder; of scenes without critters, how many show one."""
    autoencoder = load_base("pocket", device="cpu").encoders.autoencoder
    measured = []
    for subjects, name in ((1, "one critter"), (2, "two critters")):
        clips = [shot(index, subjects=subjects) for index in range(count)]
        drawn = [frames for frames, _ in clips]
        for how, videos in (("", drawn), (", autoencoder", through_autoencoder(autoencoder, drawn))):
            measured.append({"name": name + how, "scores": measure(finder, clips, videos)})
    names = islice(cycle(critters.SCENES), count)
    empty = [scene(name, np.random.default_rng((SEED + 1, i)), frames=critters.FRAMES) for i, name in enumerate(names)]
    for how, videos in (("", empty), (", autoencoder", through_autoencoder(autoencoder, empty))):
        seen = accuracy(len(regions(finder.find(video))) > 0 for video in videos)
        measured.append({"name": "no critter" + how, "found": seen.to_values()})
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_training_options(parser, steps=1000, count=200, pool=4000)
    add_out(parser, WEIGHTS, "--weights")
    add_out(parser, RESULT)
    options = parser.parse_args()
    weights = target(parser, options.weights, WEIGHTS, "--weights")
    out = target(parser, options.out, RESULT)
    torch.set_num_threads(options.threads)
    task, facts = train(
        lambda: FinderTask(pool=options.pool, fresh=12, batch=48),
        options.steps,
        muon_names=r"^(down|deepest|join)\.",
    )
    task.module.save(weights)
    finder = Finder.load(weights)
    write(out, {**facts, "clips_drawn": task.pool.count, "rows": rows(finder, options.count)})


if __name__ == "__main__":
    main()
