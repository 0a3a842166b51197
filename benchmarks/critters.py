"""Score a model on critters it has never seen: 200 pairs of a held-out subject's image and a prompt.

    python benchmarks/critters.py                  # pocket and its adapter, and the rows to compare it with
    python benchmarks/critters.py --rows model --pairs 50 --steps 20 --sheets sheets
    python benchmarks/critters.py --novelty combination --rows model,real
    python benchmarks/critters.py --appearance     # the base model alone; the prompt describes the subject

A judge that was trained on real clips classifies each video (`benchmarks/judge.py`). Prints a table in percent with
95 % intervals and writes `critters.json` (`critters-appearance.json`, `critters-combination.json`) to
`benchmarks/results`, and beside it a `.csv` of the requested and the judged attributes of each video.

Most held-out critters have a twin in training that differs in the eyes alone. So the rows are also listed for each kind
separately (`refilm.pocket.novelty`), and `--novelty combination` selects only pairs of critters without a twin.
"""

import argparse
import csv
import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from judging import through_autoencoder
from PIL import Image, ImageDraw, ImageFont
from record import RESULTS, add_out, target, write
from rich.progress import track as progress

import refilm
from refilm.data import critters
from refilm.evaluation import Row, accuracy, as_json, markdown
from refilm.generation import Request
from refilm.pocket.judge import ATTRIBUTES, WEIGHTS, Judge, Judgement
from refilm.pocket.novelty import Novelty, novelty
from refilm.pocket.pairs import Pair, held_out_pairs, next_with_other_subject

ROWS = {
    "model": "the model",
    "real": "real clips (the judge's ceiling)",
    "autoencoder": "real clips through the autoencoder",
    "none": "no image",
    "wrong": "another subject's image",
    "scale0": "reference scale 0",
}
APPEARANCE_ROWS = {
    "model": "the base model, subject described",
    "real": ROWS["real"],
    "autoencoder": ROWS["autoencoder"],
}
COLUMNS = {"color": "body color", "second": "second color"}  # the other columns have their attribute's name


def generate(
    pipeline: refilm.Pipeline, pairs: Sequence[Pair], images: Sequence[Image.Image | None], options, *, scale: float
) -> list[np.ndarray]:
    """One batch of videos, (F, H, W, 3) uint8 each. A pair starts from the same noise in every row."""
    videos = pipeline.generate_batch(
        [pair.story.appearance_caption if options.appearance else pair.story.caption for pair in pairs],
        images,
        seeds=[1000 * options.seed + pair.index for pair in pairs],
        steps=options.steps,
        guidance=options.guidance,
        reference_scale=scale,
    )
    return [video.frames for video in videos]


def make_videos(row: str, pairs: Sequence[Pair], pipeline: refilm.Pipeline, options) -> list[np.ndarray]:
    """Generate the videos of a row, one for each pair."""
    if row in ("real", "autoencoder"):
        videos = [critters.render(pair.story, np.random.default_rng((options.seed, pair.index, 1))) for pair in pairs]
        return videos if row == "real" else through_autoencoder(pipeline.base.encoders.autoencoder, videos)
    videos = []
    starts = range(0, len(pairs), options.batch)
    for start in progress(starts, f"{row:>8}", disable=not options.progress):
        batch = pairs[start : start + options.batch]
        if options.appearance or row == "none":
            images = [None] * len(batch)
        else:
            images = [next_with_other_subject(pair, pairs).image if row == "wrong" else pair.image for pair in batch]
        videos += generate(pipeline, batch, images, options, scale=0.0 if row == "scale0" else 1.0)
    return videos


def stored_videos(
    row: str, pairs: Sequence[Pair], pipeline: refilm.Pipeline, options, request: Request
) -> list[np.ndarray]:
    """The videos of a row; read from `--videos` if an earlier run stored them with the same weights and settings."""
    if options.videos is None:
        return make_videos(row, pairs, pipeline, options)
    weights = hashlib.sha256()
    for module in (pipeline.base.transformer, pipeline.base.encoders.autoencoder.model):
        for tensor in module.state_dict().values():
            weights.update(tensor.float().numpy().tobytes())
    how = (
        row,
        [pair.index for pair in pairs],
        options.seed,
        options.appearance,
        options.batch,
        request.model_dump_json(),
    )
    path = options.videos / f"{row}-{hashlib.sha256(repr((weights.hexdigest(), how)).encode()).hexdigest()[:16]}.npy"
    if not path.exists():
        options.videos.mkdir(parents=True, exist_ok=True)
        np.save(path, np.stack(make_videos(row, pairs, pipeline, options)))
    return list(np.load(path))


def score(name: str, pairs: Sequence[Pair], judgements: Sequence[Judgement], *, seconds: float | None = None) -> Row:
    """How often the judge finds the requested attributes."""
    hits = [seen.matches(Judgement.of(pair.story)) for seen, pair in zip(judgements, pairs, strict=True)]
    scores = {COLUMNS.get(a, a): accuracy(hit[a] for hit in hits) for a in ATTRIBUTES}
    scores["all"] = accuracy(all(hit.values()) for hit in hits)
    scores["all but eyes"] = accuracy(all(hit[a] for a in ATTRIBUTES if a != "eyes") for hit in hits)
    return Row(name, scores, {} if seconds is None else {"seconds": round(seconds, 1)})


def by_novelty(
    titles: dict[str, str], pairs: Sequence[Pair], seen: dict[str, Sequence[Judgement]], training: critters.Split
) -> dict[str, list[dict[str, Any]]]:
    """The rows again, over the pairs of each kind separately."""
    by_kind = {}
    for kind in get_args(Novelty):
        chosen = [place for place, pair in enumerate(pairs) if novelty(pair.story.subject, training) == kind]
        if chosen:
            few = [pairs[place] for place in chosen]
            by_kind[kind] = [score(titles[row], few, [seen[row][place] for place in chosen]) for row in seen]
    return {kind: as_json(rows) for kind, rows in by_kind.items()}


def by_option(pairs: Sequence[Pair], judgements: Sequence[Judgement]) -> dict[str, dict[str, dict[str, int]]]:
    """For each option of each attribute, how often it was requested, and how often it was right."""
    counts = {}
    for attribute in ATTRIBUTES:
        wanted = [getattr(Judgement.of(pair.story), attribute) for pair in pairs]
        right = Counter(a for a, seen in zip(wanted, judgements, strict=True) if getattr(seen, attribute) == a)
        counts[attribute] = {
            option: {"right": right[option], "of": of} for option, of in sorted(Counter(wanted).items())
        }
    return counts


def second_for_color(pairs: Sequence[Pair], judgements: Sequence[Judgement]) -> int:
    """How many wrong body colors are the subject's second color."""
    return sum(seen.color == pair.story.subject.second for pair, seen in zip(pairs, judgements, strict=True))


def write_judgements(path: Path, pairs: Sequence[Pair], seen: dict[str, Sequence[Judgement]]) -> None:
    """Write a line per video: first the requested attributes, then those judged in each row."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["row", "pair", *ATTRIBUTES], lineterminator="\n")
        writer.writeheader()
        for row, judgements in {"asked": [Judgement.of(pair.story) for pair in pairs], **seen}.items():
            for pair, judgement in zip(pairs, judgements, strict=True):
                writer.writerow({"row": row, "pair": pair.index, **asdict(judgement)})


def contact_sheet(pairs: Sequence[Pair], videos: Sequence[np.ndarray], judgements: Sequence[Judgement]) -> Image.Image:
    """A line per pair: its image, every other frame, the caption, and in red what the judge saw instead."""
    side, gap, text, font = 64, 4, 16, ImageFont.load_default(11)
    count = (len(videos[0]) + 1) // 2
    sheet = Image.new("RGB", ((count + 1) * (side + gap) + 3 * gap, len(pairs) * (side + text + gap)), "white")
    pen = ImageDraw.Draw(sheet)
    for line, (pair, video, seen) in enumerate(zip(pairs, videos, judgements, strict=True)):
        top = line * (side + text + gap)
        wanted = f"{pair.index}: {pair.story.caption}, {pair.story.subject.appearance}"
        pen.text((gap, top + 1), wanted, "black", font)
        wrong = [getattr(seen, a) for a, hit in seen.matches(Judgement.of(pair.story)).items() if not hit]
        pen.text((2 * gap + pen.textlength(wanted, font), top + 1), " ".join(wrong), "red", font)
        sheet.paste(pair.image.resize((side, side), Image.Resampling.NEAREST), (gap, top + text))
        for column, frame in enumerate(video[::2]):
            image = Image.fromarray(frame).resize((side, side), Image.Resampling.NEAREST)
            sheet.paste(image, (3 * gap + (column + 1) * (side + gap), top + text))
    return sheet


def run(options) -> None:
    """Generate, judge, report."""
    titles = APPEARANCE_ROWS if options.appearance else ROWS
    judge = Judge.load(options.judge)
    pairs = held_out_pairs(options.seed, options.pairs, options.novelty, options.training)
    adapter = None if options.appearance else options.adapter or "default"
    pipeline = refilm.load(options.base, adapter=adapter)
    request = pipeline.request(steps=options.steps, guidance=options.guidance)
    rows, seen = [], {}
    for row in options.rows:
        started = time.perf_counter()
        videos = stored_videos(row, pairs, pipeline, options, request)
        seconds = time.perf_counter() - started
        judgements = seen[row] = judge.judge(videos)
        rows.append(score(titles[row], pairs, judgements, seconds=seconds))
        if options.sheets:
            options.sheets.mkdir(parents=True, exist_ok=True)
            for first in range(0, len(pairs), 16):
                part = slice(first, first + 16)
                sheet = contact_sheet(pairs[part], videos[part], judgements[part])
                sheet.save(options.sheets / f"{'appearance-' if options.appearance else ''}{row}-{first:03d}.png")
    result = {
        "base": options.base,
        "adapter": adapter,
        "judge": hashlib.sha256(options.judge.read_bytes()).hexdigest(),
        "pairs": options.pairs,
        "novelty": options.novelty,
        "training": options.training,
        "seed": options.seed,
        "batch": options.batch,
        "request": request.model_dump(),
        "rows": as_json(rows),
        "by_novelty": by_novelty(titles, pairs, seen, options.training),
    }
    if "model" in seen:
        result["model_by_option"] = by_option(pairs, seen["model"])
        result["model_second_for_color"] = second_for_color(pairs, seen["model"])
    write(options.out, result)
    write_judgements(options.out.with_suffix(".csv"), pairs, seen)
    print(markdown(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="pocket", help="Base model: pocket, or a folder.")
    parser.add_argument("--adapter", help="Folder of an adapter. Default: the base model's.")
    parser.add_argument(
        "--rows", help=f"Some of {','.join(ROWS)}. Default: all; with --appearance model,real,autoencoder."
    )
    parser.add_argument(
        "--appearance", action="store_true", help="Use neither images nor an adapter; the prompt describes the subject."
    )
    parser.add_argument(
        "--novelty", choices=get_args(Novelty), help="Only subjects that are new in this way. Default: all."
    )
    parser.add_argument(
        "--training",
        choices=("train", "train_combinations"),
        default="train",
        help="Split that the model was trained on. Default: %(default)s.",
    )
    parser.add_argument("--pairs", type=int, default=200, help="Pairs of image and prompt. Default: %(default)s.")
    parser.add_argument("--steps", type=int, help="Sampler steps. Default: the base model's.")
    parser.add_argument("--guidance", type=float, help="Guidance scale. Default: the base model's.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the pairs and the noise. Default: %(default)s.")
    parser.add_argument("--batch", type=int, default=10, help="Videos generated at once. Default: %(default)s.")
    parser.add_argument("--judge", type=Path, default=WEIGHTS, help="Weights of the judge.")
    parser.add_argument(
        "--videos", type=Path, help="Folder to store the videos in, so that another judge can classify them."
    )
    parser.add_argument("--sheets", type=Path, help="Folder for contact sheets.")
    add_out(parser, RESULTS / "critters.json")
    parser.add_argument("--no-progress", dest="progress", action="store_false", help="Show no progress bars.")
    options = parser.parse_args()
    known = APPEARANCE_ROWS if options.appearance else ROWS
    options.rows = options.rows.split(",") if options.rows else list(known)
    if unknown := [row for row in options.rows if row not in known]:
        parser.error(f"--rows: {', '.join(unknown)}: unknown; choose from {', '.join(known)}")
    if options.pairs < 2:
        parser.error(f"--pairs must be 2 or more, received {options.pairs}")
    kind = f"-{options.novelty}" if options.novelty else ""
    name = f"critters{'-appearance' if options.appearance else ''}{kind}.json"
    options.out = target(parser, options.out, RESULTS / name)
    with torch.inference_mode():
        run(options)


if __name__ == "__main__":
    main()
