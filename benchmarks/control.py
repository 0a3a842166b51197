"""What the controls of a subject do: likeness and motion against each of their values, on held-out critters.

    python benchmarks/control.py                         # all experiments
    python benchmarks/control.py --experiments scale,views --pairs 20 --out quick.json

Each experiment generates the videos of the same pairs of image and prompt (`critters.py`) once for every value of one
control; a pair has the same noise everywhere. The judge gives, in percent with 95 % intervals: `likeness`, the fraction
of videos whose color, second color, shape and pattern are those of the image; `color`, that of the body alone;
`motion` and `scene`, which the prompt asks for.

- scale: reference scale.
- start, end: the sampler step from which, or until which, the reference is used.
- guidance: the guidance scale of the reference alone, at an equal number of transformer passes.
- views: one, two and four images of the subject.
- cue: a subject that appears, or disappears, in the middle of the video; each half is judged on its own.

Writes benchmarks/results/control.json, or `--out`, after every experiment; `--resume` keeps the experiments that the
file already has. `control_plots.py` draws it.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from record import RESULTS, add_out, target, write
from rich.progress import track as progress

import refilm
from refilm import Subject
from refilm.data import critters
from refilm.evaluation import accuracy
from refilm.files import read_json
from refilm.pocket.judge import WEIGHTS, Judge, Judgement
from refilm.pocket.pairs import Pair, held_out_pairs

RESULT = RESULTS / "control.json"
PAIRS_SEED = 11  # used by no other program
LIKENESS = ("color", "second", "shape", "pattern")
PASSES = 60  # of the transformer for each video in the experiment with guidance
HALVES = {"first half": slice(0, 9), "second half": slice(8, 17)}  # the judge needs nine frames


@dataclass(frozen=True)
class Point:
    """One value of a control."""

    x: float | str
    """The value."""
    subject: Callable[[Pair], Subject | None]
    """The subject of a pair's video."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the generation."""
    line: str = ""
    """The line of the plot that it belongs to."""
    halves: bool = False
    """Judge both halves instead of the whole."""


def views(pair: Pair, count: int) -> list[Image.Image]:
    """Images of the pair's subject in other poses; the first is the pair's own."""
    rngs = (np.random.default_rng((PAIRS_SEED, pair.index, 30 + number)) for number in range(1, count))
    return [pair.image, *(Image.fromarray(critters.portrait(pair.story.subject, rng)) for rng in rngs)]


def with_controls(**controls: Any) -> Callable[[Pair], Subject]:
    """A subject of one image with some controls."""
    return lambda pair: Subject(images=pair.image, **controls)


def experiments(steps: int) -> dict[str, list[Point]]:
    """All experiments with their points."""
    plain = with_controls()
    firsts, lasts = (
        [1 + round(part * steps) for part in parts] for parts in ((0, 0.1, 0.2, 0.35, 0.5, 0.7), (0.15, 0.3, 0.5, 0.75))
    )
    return {
        "scale": [Point(scale, plain, {"reference_scale": scale}) for scale in (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)],
        "start": [Point(first, with_controls(steps=f"{first}-{steps}")) for first in firsts],
        "end": [Point(last, with_controls(steps=f"1-{last}")) for last in (*lasts, steps)],
        "guidance": [
            *(Point(one, plain, {"guidance": one, "steps": PASSES // 2}, "one scale") for one in (2.0, 4.0, 6.0)),
            *(
                Point(
                    one, plain, {"guidance": text, "reference_guidance": one, "steps": PASSES // 3}, f"prompt {text:g}"
                )
                for text in (2.0, 4.0)
                for one in (2.0, 6.0, 8.0)
                if text != one
            ),
        ],
        "views": [
            *(Point(n, lambda pair, n=n: Subject(images=views(pair, n)), line="different views") for n in (1, 2, 4)),
            *(Point(n, lambda pair, n=n: Subject(images=[pair.image] * n), line="the same image") for n in (2, 4)),
        ],
        "cue": [
            Point("always", plain, halves=True),
            Point("appears", with_controls(frames="10-17"), halves=True),
            Point("disappears", with_controls(frames="1-9"), halves=True),
            Point("never", lambda pair: None, halves=True),
        ],
    }


def generate(pipeline: refilm.Pipeline, pairs: Sequence[Pair], point: Point, options) -> list[np.ndarray]:
    """The videos of a point, (F, H, W, 3) uint8 each."""
    videos = []
    for start in range(0, len(pairs), options.batch):
        batch = pairs[start : start + options.batch]
        made = pipeline.generate_batch(
            [pair.story.caption for pair in batch],
            [point.subject(pair) for pair in batch],
            seeds=[1000 * PAIRS_SEED + pair.index for pair in batch],
            **{"steps": options.steps, **point.settings},
        )
        videos += [video.frames for video in made]
    return videos


def score(pairs: Sequence[Pair], judgements: Sequence[Judgement]) -> dict[str, dict[str, float]]:
    """How often likeness, motion and scene are right."""
    hits = [seen.matches(Judgement.of(pair.story)) for seen, pair in zip(judgements, pairs, strict=True)]
    return {
        "likeness": accuracy(all(hit[name] for name in LIKENESS) for hit in hits).to_values(),
        **{name: accuracy(hit[name] for hit in hits).to_values() for name in ("color", "motion", "scene")},
    }


def measure(pipeline: refilm.Pipeline, judge: Judge, pairs: Sequence[Pair], point: Point, options) -> dict[str, Any]:
    """A point's scores and the seconds of a video."""
    started = time.perf_counter()
    videos = generate(pipeline, pairs, point, options)
    seconds = (time.perf_counter() - started) / len(pairs)
    parts = HALVES if point.halves else {"": slice(None)}
    scores = {name: score(pairs, judge.judge([video[part] for video in videos])) for name, part in parts.items()}
    return {"x": point.x, "line": point.line, "seconds": round(seconds, 3), **(scores if point.halves else scores[""])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="pocket", help="Base model: pocket, or a folder.")
    parser.add_argument("--experiments", help="Some of the experiments, separated by commas. Default: all.")
    parser.add_argument("--pairs", type=int, default=100, help="Pairs of image and prompt. Default: %(default)s.")
    parser.add_argument("--steps", type=int, default=20, help="Sampler steps. Default: %(default)s.")
    parser.add_argument("--batch", type=int, default=10, help="Videos generated at once. Default: %(default)s.")
    parser.add_argument("--resume", action="store_true", help="Keep the experiments that the file already has.")
    add_out(parser, RESULT)
    options = parser.parse_args()
    every = experiments(options.steps)
    wanted = options.experiments.split(",") if options.experiments else list(every)
    if unknown := [name for name in wanted if name not in every]:
        parser.error(f"--experiments: {', '.join(unknown)}: unknown; choose from {', '.join(every)}")
    out = (options.out or RESULT) if options.resume else target(parser, options.out, RESULT)
    pipeline, judge = refilm.load(options.base), Judge.load(WEIGHTS)
    pairs = held_out_pairs(PAIRS_SEED, options.pairs)
    facts = {"base": options.base, "pairs": options.pairs, "steps": options.steps, "passes": PASSES}
    before = read_json(out) if options.resume and out.exists() else facts | {"experiments": {}}
    if changed := [name for name in facts if before[name] != facts[name]]:
        parser.error(f"{out}: was measured with another {', '.join(changed)}; use another file")
    found = before["experiments"]
    for name in [name for name in wanted if name not in found]:
        with torch.inference_mode():
            found[name] = [measure(pipeline, judge, pairs, point, options) for point in progress(every[name], name)]
        write(out, {**facts, "experiments": found})


if __name__ == "__main__":
    main()
