"""Train the region judge on real training clips with one and two critters, and measure it on real held-out ones.

    python benchmarks/judge_two.py

writes `benchmarks/region_judge.safetensors` (or `--weights`) and `benchmarks/results/judge_two.json` (or `--out`). It
takes some minutes on one core and needs the trained finder (`finder.py`). Half of the training masks are those of the
drawing; the other half the finder finds in degraded clips. Held-out clips are judged with true masks and with those
that the finder finds, as drawn and after the pocket model's autoencoder.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from finder import WEIGHTS as FINDER
from finder import iou, story_of
from judging import (
    SEED,
    ClassifierTask,
    Pool,
    add_training_options,
    degrade,
    soften,
    stain,
    through_autoencoder,
    train,
)
from record import RESULTS, add_out, target, write
from torch import Tensor

from refilm.checkpoints import load_base
from refilm.data import critters
from refilm.evaluation import Accuracy, Row, accuracy, as_json
from refilm.pocket.finder import SIZE, Finder
from refilm.pocket.judge import ATTRIBUTES
from refilm.pocket.region_judge import REGION_ATTRIBUTES, RegionJudge, SubjectJudgement, cut_out
from refilm.pocket.regions import Region, regions
from refilm.pocket.two import Seen, SubjectScore, judge_two, score_in_order, score_subjects

RESULT = RESULTS / "judge_two.json"
WEIGHTS = Path(__file__).parent / "region_judge.safetensors"


class Clip(NamedTuple):
    """A real clip with one or two subjects at 64 pixels."""

    story: critters.Story | critters.DoubleStory
    shot: critters.Shot


def draw_clip(seed: int, index: int, split: critters.Split, *, subjects: int) -> Clip:
    """Clip `index` of a stream."""
    story = story_of(seed, index, split, subjects=subjects)
    return Clip(story, critters.shoot(story, np.random.default_rng((seed, index, 3)), size=SIZE))


class TrainingRegions:
    """Draws samples for the pool: a region of clip `index`, cut out of its frames, and what it shows."""

    def __init__(self, finder: Finder):
        self.finder = finder

    def __call__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Cutouts (F, 4, 32, 32) uint8, poses (F, 4), and the number of each attribute's option."""
        story, (frames, masks) = draw_clip(SEED, index, "train", subjects=1 + index % 2)
        number = index // 2 % len(masks)
        video, mask = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255, masks[number]
        if index // 4 % 2 == 0:
            video, mask = self._found(video, mask, torch.Generator().manual_seed(index))
        cutouts, poses = cut_out(video, torch.from_numpy(mask).float())
        shown = SubjectJudgement.all_of(story)[number]
        labels = torch.tensor([ATTRIBUTES[a].index(getattr(shown, a)) for a in REGION_ATTRIBUTES])
        return (255 * cutouts).round().to(torch.uint8), poses, labels

    def _found(self, video: Tensor, mask: np.ndarray, rng: torch.Generator) -> tuple[Tensor, np.ndarray]:
        """The clip, degraded, and the region found in it that overlaps the true one most; the true one if none does."""
        video = degrade(soften(stain(video[None], rng), rng), rng)[0]
        found = regions(self.finder.find((255 * video).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()))
        best = max((one.masks for one in found), key=lambda one: iou(one, mask), default=mask)
        return video, best if iou(best, mask) > 0.5 else mask


class RegionTask(ClassifierTask):
    """The task for `fit`: the appearance in degraded cutouts, and the motion in series of them."""

    attributes = REGION_ATTRIBUTES

    def __init__(self, finder: Finder, pool: int, **sizes: int):
        self.module = RegionJudge()
        super().__init__(Pool(pool, TrainingRegions(finder)), **sizes)

    def appearance(self, chosen: Tensor, moments: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        color, mask = (self.pool.columns[0][chosen, moments][:, None].float() / 255).split((3, 1), dim=2)
        return self.module.classify_looks(torch.cat((degrade(stain(color, rng), rng), roughened(mask, rng)), dim=2))

    def motion(self, chosen: Tensor, part: slice, rng: torch.Generator) -> Tensor:
        cutouts, poses, _ = self.pool.columns
        color, mask = (cutouts[chosen, part].float() / 255).split((3, 1), dim=2)
        cutouts = torch.cat((degrade(color, rng), roughened(mask, rng)), dim=2)
        seen = (
            torch.rand(*cutouts.shape[:2], 1, generator=rng) > 0.05
        ).float()  # the finder may miss it in some frames
        return self.module.classify_motion(cutouts * seen[..., None, None], poses[chosen, part] * seen)

    def validate(self) -> dict[str, float]:
        clips = [draw_clip(SEED + 1, index, "held_out", subjects=2) for index in range(30)]
        scored = [judge_masks(one.shot.frames, one, self.module) for one in clips]
        return {name: score.fraction for name, score in accuracies(scored).items()}


def roughened(masks: Tensor, rng: torch.Generator) -> Tensor:
    """Masks (B, F, 1, H, W) grown or shrunk by up to a pixel: each clip's by another fraction."""
    grown, shrunk = (sign * F.max_pool3d(sign * masks, (1, 3, 3), 1, (0, 1, 1)) for sign in (1, -1))
    strength = 2 * torch.rand(len(masks), 1, 1, 1, 1, generator=rng) - 1
    return masks + strength.clamp(min=0) * (grown - masks) + (-strength).clamp(min=0) * (shrunk - masks)


def judge_masks(video: np.ndarray, clip: Clip, judge: RegionJudge) -> tuple[SubjectScore, ...]:
    """The scores of a video of a clip's story, judged where the drawing's masks are."""
    seen = [
        Seen(Region(subject.shape, mask), judge.judge(video, mask))
        for subject, mask in zip(clip.story.subjects, clip.shot.masks, strict=True)
    ]
    return score_in_order(seen, clip.story)


def accuracies(scored: Sequence[tuple[SubjectScore, ...]]) -> dict[str, Accuracy]:
    """Accuracies over critters, of each attribute and of all together, and over clips, of all critters together.

    `leaked`: how often an attribute is the other critter's, of the attributes in which both differ.
    """
    each = [one for scores in scored for one in scores]
    table = {attribute: accuracy(one.right[attribute] for one in each) for attribute in REGION_ATTRIBUTES}
    table["all"] = accuracy(all(one.right.values()) for one in each)
    if leaked := [hit for one in each for hit in one.leaked.values()]:
        table["every critter"] = accuracy(all(all(one.right.values()) for one in scores) for scores in scored)
        table["leaked"] = accuracy(leaked)
    return table


def table(finder: Finder, judge: RegionJudge, count: int) -> list[Row]:
    """One and two critters, as drawn and after the autoencoder, with true and with found masks."""
    autoencoder = load_base("pocket", device="cpu").encoders.autoencoder
    rows = []
    for subjects, name in ((1, "one critter"), (2, "two critters")):
        clips = [draw_clip(SEED + 1, index, "held_out", subjects=subjects) for index in range(count)]
        drawn = [clip.shot.frames for clip in clips]
        rows += judged(name, drawn, clips, finder, judge)
        rows += judged(f"{name}, autoencoder", through_autoencoder(autoencoder, drawn), clips, finder, judge)
    return rows


def judged(
    name: str, videos: Sequence[np.ndarray], clips: Sequence[Clip], finder: Finder, judge: RegionJudge
) -> list[Row]:
    """How well videos of clips can be judged, with true and with found masks."""
    masked = [judge_masks(video, clip, judge) for video, clip in zip(videos, clips, strict=True)]
    seen = [judge_two(video, finder, judge) for video in videos]
    scored = [score_subjects(found, clip.story) for found, clip in zip(seen, clips, strict=True)]
    number = accuracy(len(found) == len(clip.story.subjects) for found, clip in zip(seen, clips, strict=True))
    return [
        Row(f"{name}, true masks", accuracies(masked)),
        Row(f"{name}, found masks", {**accuracies(scored), "number": number}),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_training_options(parser, steps=1000, count=200, pool=2000)
    parser.add_argument("--finder", type=Path, default=FINDER, help="Weights of the finder.")
    add_out(parser, WEIGHTS, "--weights")
    add_out(parser, RESULT)
    options = parser.parse_args()
    weights = target(parser, options.weights, WEIGHTS, "--weights")
    out = target(parser, options.out, RESULT)
    torch.set_num_threads(options.threads)
    finder = Finder.load(options.finder)
    task, facts = train(
        lambda: RegionTask(finder, options.pool, fresh=2, images=128, clips=24),
        options.steps,
        muon_names=r"^(looks\.trunk|motion\.eye)\.",
    )
    task.module.save(weights)
    rows = table(finder, RegionJudge.load(weights), options.count)
    write(out, {**facts, "clips_drawn": task.pool.count, "rows": as_json(rows)})


if __name__ == "__main__":
    main()
