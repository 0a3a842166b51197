"""Compare the decoders of base models that differ in nothing else: all decode the same latents.

    python benchmarks/decoders.py --bases old new --run runs/autoencoder-further
    python benchmarks/decoders.py --count 4 --pairs 2 --out quick.json

- clips: held-out clips with one and with two critters, encoded once: dB of each decoder with the 95 % interval, what
  it gains over the first decoder, and how well the region judge (`judge_two.py`) classifies their critters.
- generated: one critter per video, as in `critters.py`, sampled once, and the judge's classification of it after each
  decoder.
- run, with `--run`: steps, hours and validations of the run that trained the new decoder.

Writes `decoders.json` to `benchmarks/results`, or `--out`. It takes about half an hour of one core.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from critters import score
from finder import WEIGHTS as FINDER
from judge_two import WEIGHTS as REGION_JUDGE
from judge_two import draw_clip, judged
from judging import SEED, mean
from record import RESULTS, add_out, target, write
from rich.progress import track as progress
from torch import Tensor

import refilm
from refilm.checkpoints import load_base
from refilm.encoders.protocols import LatentCodec
from refilm.errors import UserError
from refilm.evaluation import as_json, psnr
from refilm.pocket.finder import Finder
from refilm.pocket.judge import WEIGHTS, Judge
from refilm.pocket.pairs import Pair, held_out_pairs
from refilm.pocket.region_judge import RegionJudge

RESULT = RESULTS / "decoders.json"
BATCH = 10
Codecs = Mapping[str, LatentCodec]


def require_equal_encoders(codecs: Codecs) -> None:
    """Check that autoencoders differ in their decoders alone.

    Raises:
        UserError: a weight of the encoder differs, or the scale of the latents.
    """
    (one, first), *others = codecs.items()
    for other, codec in others:
        ours, theirs = (each.model.state_dict() for each in (first, codec))
        for name in (name for name in ours | theirs if not name.startswith("decoder.")):
            if name not in ours or name not in theirs or not torch.equal(ours[name], theirs[name]):
                raise UserError(f"{name} differs between {one} and {other}; give models with the same encoder")
        if first.scaling != codec.scaling:
            raise UserError(f"{one} scales latents by {first.scaling}, {other} by {codec.scaling}; they must be equal")


def decoded(codecs: Codecs, latents: Sequence[Tensor]) -> dict[str, list[np.ndarray]]:
    """The videos of latents (T, C, h, w) by each decoder."""
    return {name: [codec.decode(one[None])[0].numpy() for one in latents] for name, codec in codecs.items()}


def of_clips(codecs: Codecs, count: int, *, subjects: int) -> dict[str, Any]:
    """Held-out clips after the encoder and each decoder."""
    finder, judge = Finder.load(FINDER), RegionJudge.load(REGION_JUDGE)
    clips = [draw_clip(SEED + 1, index, "held_out", subjects=subjects) for index in range(count)]
    drawn = [clip.shot.frames for clip in clips]
    first = next(iter(codecs))
    latents = [
        codecs[first].posterior(torch.from_numpy(one)[None])[0][0] for one in progress(drawn, f"clips of {subjects}")
    ]
    made = decoded(codecs, latents)
    fidelity = {name: [psnr(*two) for two in zip(videos, drawn, strict=True)] for name, videos in made.items()}
    gained = {name: np.subtract(values, fidelity[first]).tolist() for name, values in fidelity.items() if name != first}
    rows = [row for name, videos in made.items() for row in judged(name, videos, clips, finder, judge)]
    return {
        "psnr": {name: {**mean(values), "lowest": min(values)} for name, values in fidelity.items()},
        "psnr_gained": {
            name: {**mean(gains), "better": sum(gain > 0 for gain in gains)} for name, gains in gained.items()
        },
        "rows": as_json(rows),
    }


def of_pairs(codecs: Codecs, pipeline: refilm.Pipeline, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Generated videos of pairs of an image and a prompt after each decoder."""
    latents: list[Tensor] = []
    for start in progress(range(0, len(pairs), BATCH), "generated"):
        batch = pairs[start : start + BATCH]
        sampling = pipeline.sample(
            [pair.story.caption for pair in batch],
            [pair.image for pair in batch],
            seeds=[pair.index for pair in batch],
            request=pipeline.request(),
        )
        for _ in sampling:
            pass
        latents += list(sampling.latents)
    judge, made = Judge.load(WEIGHTS), decoded(codecs, latents)
    return {"rows": as_json([score(name, pairs, judge.judge(videos)) for name, videos in made.items()])}


def of_run(folder: Path) -> dict[str, Any]:
    """Steps, hours and validations of a run; a part that was stopped and trained again counts in the hours alone."""
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    spans = [datetime.fromisoformat(part["until"]) - datetime.fromisoformat(part["since"]) for part in record["parts"]]
    return {
        "steps": record["recipe"]["loop"]["steps"],
        "hours": round(sum(span.total_seconds() for span in spans) / 3600, 2),
        "validations": [{"step": one["step"], **one["scores"]} for one in record["validations"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--bases", nargs="+", default=["pocket"], help="Base models, the old one first. Default: pocket."
    )
    parser.add_argument("--count", type=int, default=200, help="Held-out clips of each kind. Default: %(default)s.")
    parser.add_argument("--pairs", type=int, default=100, help="Pairs of image and prompt. Default: %(default)s.")
    parser.add_argument("--run", type=Path, help="Folder of the run that trained the new decoder. Default: none.")
    parser.add_argument("--threads", type=int, default=1, help="Threads of torch. Default: %(default)s.")
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    torch.set_num_threads(options.threads)
    pipeline = refilm.load(options.bases[0], adapter="default")
    codecs = {Path(base).name: load_base(base, device="cpu").encoders.autoencoder for base in options.bases}
    require_equal_encoders(codecs)
    with torch.inference_mode():
        result = {
            "bases": list(codecs),
            "clips": options.count,
            "one critter": of_clips(codecs, options.count, subjects=1),
            "two critters": of_clips(codecs, options.count, subjects=2),
            "pairs": options.pairs,
            "generated": of_pairs(codecs, pipeline, held_out_pairs(0, options.pairs)),
        }
    write(out, result | ({} if options.run is None else {"run": of_run(options.run)}))


if __name__ == "__main__":
    main()
