"""Whether `refilm evaluate` can be trusted, on the suite of critters and the pocket model.

    python benchmarks/evaluation.py --folder evaluation

Scores of the model in all controls, and of videos whose scores are known beforehand: real clips of the right subject
(ceiling), the same stories with another subject (chance), stills of the reference, and real clips with shuffled frames.

Comparisons are drawn 100 times: of two sets of videos that the model made with different seeds, each pair assigned to
the two sides at random (A/A: any difference is a false one), and of the same sets after some videos of one side were
replaced by those of a wrong reference (A/B: the difference is known to be there).

The reference scale is swept from 0 to 1.5; `--plot` draws it.

Videos and pages of each row are kept in `--folder`; a second call continues there. Writes
`benchmarks/results/evaluation.json`.
"""

import argparse
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from control_plots import COLORS, digest
from matplotlib import pyplot as plt
from record import RESULTS, add_out, target, write
from rich.progress import track as progress

import refilm
from refilm.data import critters
from refilm.evaluation.answer import Answers
from refilm.evaluation.collecting import Videos
from refilm.evaluation.compare import ERROR, Difference, compare
from refilm.evaluation.evaluating import chosen_cases, evaluate
from refilm.evaluation.making import Model, model_identity
from refilm.evaluation.output import PAGE, write_result
from refilm.evaluation.result import Result, ScoredVideo
from refilm.evaluation.suites.critters import PAIRS, SEED, Critters
from refilm.evaluation.table import controls_of, mean_of, present_columns, videos_of
from refilm.media import Video
from refilm.pocket.pairs import Pair, held_out_pairs, next_with_other_subject

RESULT = RESULTS / "evaluation.json"
DRAWS = 100
OTHER_SEED = 1_000_000
REPLACED = (0.1, 0.2, 0.3, 0.4)
"""Fractions of the videos that are replaced in A/B comparisons."""
SCALES = (0.25, 0.5, 0.75, 1.25, 1.5)
"""Reference scales of the sweep, besides 0 and 1, which the controls have."""
DRAWN = {
    "likeness": "judge's likeness",
    "efficientnet_i": "EfficientNet-I",
    "copy_paste": "copy-paste",
    "motion": "motion",
}
"""Columns of the drawing, with their names in it."""


def clip_of(story: critters.Story, index: int) -> np.ndarray:
    """A story as the data set draws it, (F, H, W, 3) uint8."""
    return critters.render(story, np.random.default_rng((SEED, index, 1)))


def ceiling(pair: Pair, pairs: Sequence[Pair]) -> np.ndarray:
    return clip_of(pair.story, pair.index)


def chance(pair: Pair, pairs: Sequence[Pair]) -> np.ndarray:
    return clip_of(replace(pair.story, subject=next_with_other_subject(pair, pairs).story.subject), pair.index)


def still(pair: Pair, pairs: Sequence[Pair]) -> np.ndarray:
    return np.repeat(np.asarray(pair.image)[None], critters.FRAMES, axis=0)


def shuffled(pair: Pair, pairs: Sequence[Pair]) -> np.ndarray:
    return np.random.default_rng(pair.index).permutation(ceiling(pair, pairs))


KNOWN: dict[str, Callable[[Pair, Sequence[Pair]], np.ndarray]] = {
    "real clips (ceiling)": ceiling,
    "the same stories with another subject (chance)": chance,
    "stills of the reference": still,
    "real clips with shuffled frames": shuffled,
}


def result_of(source: Answers, out: Path, pairs: int, **chosen: Any) -> Result:
    """Evaluate a source, and write its page."""
    suite = Critters()
    cases = chosen_cases(suite, out, limit=pairs, **chosen)
    events = evaluate(suite, source, cases, out)
    scored = (event for event in events if isinstance(event, ScoredVideo | Result))
    *_, result = progress(scored, out.name, total=len(cases) + 1)
    write_result(result, out)
    return result


def of_model(
    base: str, out: Path, pairs: int, *, seed: int = 0, settings: Mapping[str, Any] | None = None, **chosen: Any
) -> Result:
    source = Model(lambda: refilm.load(base), model_identity(base, "default"), settings or {}, seed=seed)
    return result_of(source, out, pairs, **chosen)


def of_known_videos(draw: Callable[[Pair, Sequence[Pair]], np.ndarray], out: Path, count: int) -> Result:
    folder, pairs = out / "made", held_out_pairs(SEED, PAIRS)
    folder.mkdir(parents=True, exist_ok=True)
    for pair in pairs[:count]:
        file = folder / f"{pair.index:03}-right.mp4"
        if not file.is_file():
            Video(draw(pair, pairs), critters.FPS).save(file)
    return result_of(Videos(folder), out, count, controls=("right",))


def means(result: Result) -> dict[str, dict[str, Any]]:
    """For each control and column, the mean with its interval."""
    return {
        control: {column.name: vars(mean_of(videos_of(result, control), column)) for column in present_columns(result)}
        for control in controls_of(result)
    }


def swapped(first: Result, second: Result, rng: np.random.Generator) -> tuple[Result, Result]:
    """Two results in which each case is assigned to the sides at random."""
    pairs = zip(videos_of(first, "right"), videos_of(second, "right"), strict=True)
    sides = [(one, other) if rng.random() < 0.5 else (other, one) for one, other in pairs]
    one, other = (tuple(side) for side in zip(*sides, strict=True))
    return first.model_copy(update={"videos": one}), second.model_copy(update={"videos": other})


def with_wrong(result: Result, wrong: Result, fraction: float, rng: np.random.Generator) -> Result:
    """A result in which some videos are those of a wrong reference."""
    others = {video.group: video for video in videos_of(wrong, "wrong")}
    chosen = set(rng.permutation(len(result.videos))[: round(fraction * len(result.videos))].tolist())
    videos = [
        video.model_copy(update={"scores": others[video.group].scores}) if place in chosen else video
        for place, video in enumerate(result.videos)
    ]
    return result.model_copy(update={"videos": tuple(videos)})


def draws(first: Result, second: Result, model: Result, fraction: float) -> Iterator[list[Difference]]:
    """The differences of each drawn comparison."""
    for number in range(DRAWS):
        rng = np.random.default_rng(number)
        one, other = swapped(first, second, rng)
        yield compare(one, with_wrong(other, model, fraction, rng))


def findings(first: Result, second: Result, model: Result, fraction: float) -> dict[str, Any]:
    """In how many draws each column, and any column, was said to differ."""
    found = list(progress(draws(first, second, model, fraction), f"{fraction:g} replaced", total=DRAWS))
    differs = [{one.column.name: one.finding != "no difference shown" for one in draw} for draw in found]
    return {
        "replaced": fraction,
        "draws": DRAWS,
        "any_column": sum(any(draw.values()) for draw in differs),
        "columns": {name: sum(draw[name] for draw in differs) for name in differs[0]},
    }


def sweep(base: str, folder: Path, pairs: int, model: Result) -> list[dict[str, Any]]:
    """The means at each reference scale; those at 0 and 1 are the model's controls."""
    known = {0.0: means(model)["scale0"], 1.0: means(model)["right"]}
    for scale in SCALES:
        out, settings = folder / f"scale-{scale:g}", {"reference_scale": scale}
        known[scale] = means(of_model(base, out, pairs, settings=settings, controls=("right",)))["right"]
    return [{"scale": scale, "means": known[scale]} for scale in sorted(known)]


def draw_sweep(points: Sequence[dict[str, Any]], path: Path) -> None:
    """Each column against the reference scale, with its intervals."""
    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    scales = [point["scale"] for point in points]
    for color, (name, label) in zip(COLORS, DRAWN.items(), strict=True):
        mean, low, high = ([point["means"][name][part] for point in points] for part in ("mean", "low", "high"))
        axes.plot(scales, mean, "o-", color=color, label=label)
        axes.fill_between(scales, low, high, color=color, alpha=0.2, linewidth=0)
    axes.set(xlabel="reference scale", ylabel="mean, 95 % interval", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None, "Description": digest(points)})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="pocket", help="Base model: pocket, or a folder.")
    parser.add_argument("--pairs", type=int, default=40, help="Pairs of image and prompt. Default: %(default)s.")
    parser.add_argument("--folder", type=Path, default=Path("evaluation"), help="Folder of videos and pages.")
    parser.add_argument("--page", type=Path, help="File to copy the page of the model to: docs/assets/evaluation.html.")
    parser.add_argument("--plot", type=Path, help="File of the drawing: docs/assets/evaluation-scale.svg.")
    add_out(parser, RESULT)
    options = parser.parse_args()
    options.out = target(parser, options.out, RESULT)
    model = of_model(options.base, options.folder / "model", options.pairs)
    again = of_model(options.base, options.folder / "again", options.pairs, seed=OTHER_SEED, controls=("right",))
    known = {name: of_known_videos(draw, options.folder / draw.__name__, options.pairs) for name, draw in KNOWN.items()}
    facts = {
        "pairs": options.pairs,
        "source": model.source.to_values(),
        "suite": model.suite.to_values(),
        "metrics": {name: metric.identity for name, metric in model.metrics.items()},
        "failed": sum(video.error is not None for video in model.videos),
        "model": means(model),
        "known": {name: means(result)["right"] for name, result in known.items()},
        "error": ERROR,
        "equal": findings(model, again, model, 0.0),
        "different": [findings(model, again, model, fraction) for fraction in REPLACED],
        "sweep": sweep(options.base, options.folder, options.pairs, model),
    }
    write(options.out, facts)
    if options.plot:
        draw_sweep(facts["sweep"], options.plot)
    if options.page:
        shutil.copy(options.folder / "model" / PAGE, options.page)


if __name__ == "__main__":
    main()
