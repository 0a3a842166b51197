"""Train the judge of critters on real training clips, and measure it on real held-out ones.

    python benchmarks/judge.py

writes `benchmarks/judge.safetensors` (or `--weights`) and `benchmarks/results/judge.json` (or `--out`). It takes some
minutes on one core. Clips are drawn on the fly, only of subjects of the training split, and slightly degraded
(`judging.py`).
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from judging import SEED, Pool, add_training_options, degrade, shift, stain, train
from record import RESULTS, add_out, target, write
from torch import Tensor

from refilm.data import critters
from refilm.evaluation import Accuracy, Row, accuracy, as_json, markdown
from refilm.pocket.judge import ATTRIBUTES, Judge, Judgement, judge_input
from refilm.training.tasks.task import Reporting

RESULT = RESULTS / "judge.json"
WEIGHTS = Path(__file__).parent / "judge.safetensors"


def real_clip(seed: int, index: int, split: critters.Split, *, size: int = 32) -> tuple[np.ndarray, Judgement]:
    """Clip `index` as the data set draws it, and its true attributes."""
    story = critters.story(seed, index, split)
    return critters.render(story, np.random.default_rng((seed, index, 1)), size=size), Judgement.of(story)


def training_clip(index: int) -> tuple[Tensor, Tensor]:
    """Clip `index` of the training stream, (F, 3, 32, 32) uint8, and the number of each attribute's option."""
    video, truth = real_clip(SEED, index, "train", size=64 if index % 8 == 0 else 32)
    labels = torch.tensor([ATTRIBUTES[a].index(getattr(truth, a)) for a in ATTRIBUTES])
    return (255 * judge_input(video)).round().to(torch.uint8), labels


class JudgeTask(Reporting):
    """The task for `fit`: cross-entropy of the appearance on degraded frames, and of the motion on degraded clips."""

    def __init__(self, *, pool: int, fresh: int, images: int, clips: int):
        self.module = Judge()
        self.pool, self.fresh, self.images, self.clips = Pool(pool, training_clip), fresh, images, clips
        self.videos, self.labels = self.pool.columns

    def samples(self, step: int) -> range:
        """The indices of a step's clips."""
        return range(step * self.clips, (step + 1) * self.clips)

    def loss(self, step: int, samples: range) -> dict[str, Tensor]:
        """The losses over all of a step's images and clips, in a single process."""
        rng = torch.Generator().manual_seed(step)
        self.pool.add(self.fresh)
        self.module.train()

        # Appearance: many clips, one frame of each, because the frames of a clip are much alike.
        chosen = torch.randint(len(self.videos), (self.images,), generator=rng)
        moments = torch.randint(critters.FRAMES, (self.images,), generator=rng)
        images = degrade(shift(stain(self.videos[chosen, moments][:, None].float() / 255, rng), rng), rng)
        losses = self._losses(self.module.looks(images), chosen)

        # Motion: fewer clips, or parts of them.
        chosen = torch.randint(len(self.videos), (self.clips,), generator=rng)
        frames = (17, 17, 13, 9)[step % 4]
        start = int(torch.randint(critters.FRAMES - frames + 1, (), generator=rng))
        clips = degrade(shift(self.videos[chosen, start : start + frames].float() / 255, rng), rng)
        losses |= self._losses({"motion": self.module.motion(clips)}, chosen)
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}

    def _losses(self, logits: dict[str, Tensor], chosen: Tensor) -> dict[str, Tensor]:
        truth = dict(zip(ATTRIBUTES, self.labels[chosen].T, strict=True))
        return {name: F.cross_entropy(l.float(), truth[name], label_smoothing=0.02) for name, l in logits.items()}

    def validate(self) -> dict[str, float]:
        return {name: score.fraction for name, score in measure(self.module, count=200).items()}


def measure(judge: Judge, *, count: int, size: int = 32) -> dict[str, Accuracy]:
    """Accuracy of the judge on real held-out clips."""
    clips = [real_clip(SEED + 1, index, "held_out", size=size) for index in range(count)]
    judgements = judge.judge([video for video, _ in clips])
    hits = [seen.matches(truth) for seen, (_, truth) in zip(judgements, clips, strict=True)]
    return {name: accuracy(hit[name] for hit in hits) for name in ATTRIBUTES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_training_options(parser, steps=1000, count=1000, pool=3000)
    add_out(parser, WEIGHTS, "--weights")
    add_out(parser, RESULT)
    options = parser.parse_args()
    weights = target(parser, options.weights, WEIGHTS, "--weights")
    out = target(parser, options.out, RESULT)
    torch.set_num_threads(options.threads)
    task, facts = train(
        lambda: JudgeTask(pool=options.pool, fresh=6, images=128, clips=24),
        options.steps,
        muon_names=r"^(looks\.trunk|motion\.eye)\.",
    )
    task.module.save(weights)
    judge = Judge.load(weights)
    rows = [Row(f"real held-out clips, {s} pixels", measure(judge, count=options.count, size=s)) for s in (32, 64)]
    print(markdown(rows))
    write(out, {**facts, "clips_drawn": task.pool.count, "rows": as_json(rows)})


if __name__ == "__main__":
    main()
