"""What binds two subjects: videos of two held-out critters with nothing bound, with masks, and with words.

    python benchmarks/binding.py --base MODEL

Each prompt names two critters by shape and motion ("a cat moves left and a star bounces in the snow"); two images say
who they are. The rows of the table:

- real: real clips of the same stories through the autoencoder of the model, the ceiling;
- none: no images, and nothing else; nothing: both images, nothing bound, the control for what binding adds;
- masks: each subject has a mask for every frame: where it is in a real clip of the same story, and half a token around;
- words: each subject is bound to the word of its shape in the prompt, without training and without masks;
- both: masks and words;
- swapped: masks, each with the other subject's image, the control for what images decide.

All but real and none with separate attentions and with one joint softmax. A judge that was trained on real clips finds
the critters and judges each (`judge_two.py`). The columns, each with its 95 % interval: two critters found; both right,
that is color, second color and pattern of both; right, the same for each subject on its own; colors, the body color of
both; inside: the critter that looks most like the subject is in its mask with at least 80 % of its pixels, whether the
row uses masks or not; motion; leaked: of the attributes in which the two subjects
differ, how many a critter has from the other. A pair has the same noise in all rows.

Also how well words locate what they name: the area under the ROC curve of the base model's attention from video tokens
to the word, against the true masks, in real clips of one and of two critters with noise.

Writes benchmarks/results/binding.json, or `--out`.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from judging import through_autoencoder
from PIL import Image
from record import RESULTS, add_out, target, write
from rich.progress import track as progress
from torch import Tensor

import refilm
from refilm import Subject
from refilm.control.masks import mask_tokens
from refilm.control.routing import WordRouting
from refilm.control.shot import Shot
from refilm.data import critters
from refilm.evaluation import accuracy
from refilm.pocket.finder import Finder
from refilm.pocket.measures import fraction_inside
from refilm.pocket.region_judge import RegionJudge, SubjectJudgement
from refilm.pocket.two import Seen, judge_two, score_subjects

HERE = Path(__file__).parent
RESULT = RESULTS / "binding.json"
SEED = 19  # used by no other program
LIKENESS = ("color", "second", "pattern")  # what the caption does not say
LEVELS = (999, 700, 400)  # timesteps of the noise on real clips
AROUND = 4  # pixels that a mask adds around a critter
INSIDE = 0.8  # fraction of a critter's pixels that must be in its mask


@dataclass(frozen=True)
class Row:
    """A way to bind."""

    name: str
    masks: bool = False
    words: bool = False
    swapped: bool = False
    binding: str = "separate"

    def subjects(self, story: critters.DoubleStory, images: Sequence[Image.Image], masks: Sequence[np.ndarray]) -> list:
        """The subjects of a story's video."""
        return [
            Subject(
                name=f"{one.shape}-{number}",
                images=images[1 - number if self.swapped else number],
                mask=masks[number] if self.masks else None,
                words=one.shape if self.words else (),
            )
            for number, one in enumerate(story.subjects)
        ]


WAYS = {"nothing": {}, "masks": {"masks": True}, "words": {"words": True}, "both": {"masks": True, "words": True}}
WAYS |= {"swapped": {"masks": True, "swapped": True}}
ROWS = [
    Row(f"{name}, {binding}", binding=binding, **way) for name, way in WAYS.items() for binding in ("separate", "joint")
]


def portraits(index: int) -> list[Image.Image]:
    """The images of a story's two subjects."""
    return [
        Image.fromarray(critters.draw_double_portrait(SEED, index, "held_out", subject=number, number=0, size=128))
        for number in (0, 1)
    ]


def widened(mask: np.ndarray) -> np.ndarray:
    """A mask (F, H, W) with `AROUND` pixels more on each side, bool."""
    shown = torch.from_numpy(mask > 0).float()[:, None]
    return (torch.nn.functional.max_pool2d(shown, 2 * AROUND + 1, stride=1, padding=AROUND)[:, 0] > 0).numpy()


def generate(pipeline: refilm.Pipeline, stories: dict[int, Any], references: dict[int, Any], options, **settings: Any):
    """The videos of some stories, (F, H, W, 3) uint8 each."""
    videos = {}
    for first in range(0, len(stories), options.batch):
        part = list(stories)[first : first + options.batch]
        made = pipeline.generate_batch(
            [stories[index].caption for index in part],
            [references[index] for index in part],
            seeds=[1000 * SEED + index for index in part],
            steps=options.steps,
            **settings,
        )
        videos |= {index: video.frames for index, video in zip(part, made, strict=True)}
    return videos


def is_inside(seen: Sequence[Seen], wanted: SubjectJudgement, mask: np.ndarray) -> bool:
    """Whether the critter that looks most like a subject is in a mask."""
    if not seen:
        return False
    best = max(seen, key=lambda one: sum(one.judgement.matches(wanted)[name] for name in LIKENESS))
    return fraction_inside(best.region.masks, mask) >= INSIDE


def score(
    videos: dict[int, np.ndarray], stories: dict[int, Any], masks: dict[int, Any], finder: Finder, judge: RegionJudge
) -> dict[str, Any]:
    """The columns of a row."""
    found = {index: judge_two(video, finder, judge) for index, video in videos.items()}
    scores = {index: score_subjects(seen, stories[index]) for index, seen in found.items()}
    right = {index: [all(one.right[a] for a in LIKENESS) for one in pair] for index, pair in scores.items()}
    leaks = [hit for pair in scores.values() for one in pair for name, hit in one.leaked.items() if name in LIKENESS]
    columns = {
        "two found": [len(seen) == 2 for seen in found.values()],
        "both right": [all(pair) for pair in right.values()],
        "right": [one for pair in right.values() for one in pair],
        "colors": [all(one.right["color"] for one in pair) for pair in scores.values()],
        "inside": [
            is_inside(found[index], wanted, mask)
            for index, story in stories.items()
            for wanted, mask in zip(SubjectJudgement.all_of(story), masks[index], strict=True)
        ],
        "motion": [one.right["motion"] for pair in scores.values() for one in pair],
        "leaked": leaks,
    }
    return {name: accuracy(hits).to_values() for name, hits in columns.items() if hits}


def located(pipeline: refilm.Pipeline, story: Any, rng: np.random.Generator, timestep: int) -> list[float]:
    """Area under the ROC curve of each subject's word against its true mask, in a real clip with noise."""
    base, shot = pipeline.base, critters.shoot(story, rng)
    latents = base.encoders.autoencoder.posterior(torch.from_numpy(shot.frames)[None])[0]
    alpha, sigma = base.schedule.alpha_sigma(timestep)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(SEED))
    double = isinstance(story, critters.DoubleStory)
    named = [one.shape for one in story.subjects] if double else ["critter"]
    words = [base.encoders.text.places(story.caption, word) for word in named]
    routing = WordRouting([words], base.transformer, base.encoders.text([story.caption]))
    attention = routing.attention(alpha * latents + sigma * noise, float(timestep), base.transformer)
    frames, height, width = shot.frames.shape[:3]
    sizes = Shot(base.size, base.compression, base.defaults.fps, frames, height, width, 1)
    return [
        area(one, mask_tokens(mask, sizes) > 0.3)
        for one, mask in zip(next(iter(attention.values())), shot.masks, strict=True)
        if mask.any()
    ]


def area(values: Tensor, positive: Tensor) -> float:
    """The probability that a positive value is larger than a negative one; ties count half."""
    inside, outside = values[positive], values[~positive]
    if not len(inside) or not len(outside):
        return float("nan")
    return float(((inside[:, None] > outside).float() + 0.5 * (inside[:, None] == outside)).mean())


def measure_words(pipeline: refilm.Pipeline, clips: int) -> dict[str, dict[str, float]]:
    """The mean area for clips of one and of two critters at several levels of noise."""
    makers = {"one critter": critters.story, "two critters": critters.double_story}
    return {
        name: {
            str(level): float(
                np.nanmean(
                    [
                        value
                        for index in range(clips)
                        for value in located(
                            pipeline, make(SEED, index, "held_out"), np.random.default_rng((SEED, index)), level
                        )
                    ]
                )
            )
            for level in LEVELS
        }
        for name, make in makers.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="pocket", help="Base model: pocket, or a folder.")
    parser.add_argument("--adapter", type=Path, help="Folder of an adapter. Default: the base model's.")
    parser.add_argument("--pairs", type=int, default=100, help="Stories of two critters. Default: %(default)s.")
    parser.add_argument("--clips", type=int, default=50, help="Real clips for the words. Default: %(default)s.")
    parser.add_argument("--steps", type=int, default=20, help="Sampler steps. Default: %(default)s.")
    parser.add_argument("--batch", type=int, default=10, help="Videos generated at once. Default: %(default)s.")
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    pipeline = refilm.load(options.base, adapter=options.adapter or "default")
    finder, judge = Finder.load(HERE / "finder.safetensors"), RegionJudge.load(HERE / "region_judge.safetensors")
    stories = {index: critters.double_story(SEED, index, "held_out") for index in range(options.pairs)}
    images = {index: portraits(index) for index in stories}
    real = {index: critters.shoot(story, np.random.default_rng((SEED, index))) for index, story in stories.items()}
    clips = through_autoencoder(pipeline.base.encoders.autoencoder, [shot.frames for shot in real.values()])
    facts = {"base": options.base, "pairs": options.pairs, "clips": options.clips, "steps": options.steps}
    with torch.inference_mode():
        words = measure_words(pipeline, options.clips)
        without = generate(pipeline, stories, dict.fromkeys(stories), options)
        masks = {index: [widened(mask) for mask in shot.masks] for index, shot in real.items()}
        rows = {"real": score(dict(zip(stories, clips, strict=True)), stories, masks, finder, judge)}
        rows["none"] = score(without, stories, masks, finder, judge)
        for row in progress(ROWS, "binding"):
            started = time.perf_counter()
            subjects = {index: row.subjects(story, images[index], masks[index]) for index, story in stories.items()}
            videos = generate(pipeline, stories, subjects, options, binding=row.binding)
            seconds = (time.perf_counter() - started) / len(stories)
            rows[row.name] = {"seconds": round(seconds, 2), **score(videos, stories, masks, finder, judge)}
            write(out, {**facts, "words": words, "rows": rows})


if __name__ == "__main__":
    main()
