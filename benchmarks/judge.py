"""Train the judge of critters on real training clips, and measure it on real held-out ones.

    python benchmarks/judge.py

writes `src/refilm/pocket/judge.safetensors` (or `--weights`) and `benchmarks/results/judge.json` (or `--out`). It takes
some minutes on one core. Clips are drawn on the fly, only of subjects of the training split, and slightly degraded
(`judging.py`).
"""

import argparse

import numpy as np
import torch
from judging import SEED, ClassifierTask, Pool, add_training_options, degrade, shift, stain, train
from record import RESULTS, add_out, target, write
from torch import Tensor

from refilm.data import critters
from refilm.evaluation import Accuracy, Row, accuracy, as_json, markdown
from refilm.pocket.judge import ATTRIBUTES, WEIGHTS, Judge, Judgement, judge_input

RESULT = RESULTS / "judge.json"


def real_clip(seed: int, index: int, split: critters.Split, *, size: int = 32) -> tuple[np.ndarray, Judgement]:
    """Clip `index` as the data set draws it, and its true attributes."""
    story = critters.story(seed, index, split)
    return critters.render(story, np.random.default_rng((seed, index, 1)), size=size), Judgement.of(story)


def training_clip(index: int) -> tuple[Tensor, Tensor]:
    """Clip `index` of the training stream, (F, 3, 32, 32) uint8, and the number of each attribute's option."""
    video, truth = real_clip(SEED, index, "train", size=64 if index % 8 == 0 else 32)
    labels = torch.tensor([ATTRIBUTES[a].index(getattr(truth, a)) for a in ATTRIBUTES])
    return (255 * judge_input(video)).round().to(torch.uint8), labels


class JudgeTask(ClassifierTask):
    """The task for `fit`: the appearance in degraded frames, and the motion in degraded clips."""

    attributes = tuple(ATTRIBUTES)

    def __init__(self, pool: int, **sizes: int):
        self.module = Judge()
        super().__init__(Pool(pool, training_clip), **sizes)

    def appearance(self, chosen: Tensor, moments: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        images = self.pool.columns[0][chosen, moments][:, None].float() / 255
        return self.module.looks(degrade(shift(stain(images, rng), rng), rng))

    def motion(self, chosen: Tensor, part: slice, rng: torch.Generator) -> Tensor:
        return self.module.motion(degrade(shift(self.pool.columns[0][chosen, part].float() / 255, rng), rng))

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
        lambda: JudgeTask(options.pool, fresh=6, images=128, clips=24),
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
