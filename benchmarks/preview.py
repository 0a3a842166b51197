"""What the linear preview shows, and what it costs.

    python benchmarks/preview.py
    python benchmarks/preview.py --clips 4 --pairs 2 --repeats 1 --out quick.json

Everything is compared at the preview's size: a pixel is the mean of a decoded video over a latent pixel. Correlations
are Pearson's, over all pixels and colors of a video; rows have their mean over videos with its 95 % interval.

- clips: previews of encoded held-out clips against the decoded clip, the clip itself, and the next clip.
- steps: previews of the model's clean estimates during sampling against that estimate decoded, and against the
  finished video; and the decoded estimate against the finished video, which no preview can exceed by much.
- moving: the same after subtracting each pixel's mean over time, so that a scene that stands still does not count;
  videos in which nothing moves are left out.
- seconds: a sampler step of the pocket model, its preview, and decoding, on one thread; medians, taken in turns.
- CogVideoX-2B: FLOPs of a sampler step with guidance, of its linear preview, of a tiny decoder and of the autoencoder's
  decoder, on shapes alone; and seconds of the linear preview at that size on one thread.

Writes benchmarks/results/preview.json, or `--out`. It takes some minutes of one core.
"""

import argparse
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from judging import mean
from record import RESULTS, add_out, target, write
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from training_memory import FAKE, MODELS, Model, measure_forward

import refilm
from refilm.backbones.cogvideox.autoencoder import Autoencoder
from refilm.data import critters
from refilm.encoders import LatentCodec
from refilm.geometry import Compression
from refilm.pocket.pairs import held_out_pairs
from refilm.previews import LinearPreview, colors_of, correlation, encoded_pairs, preview_of
from refilm.previews.tiny import TinyNetwork

RESULT = RESULTS / "preview.json"
CLIPS_SEED, PAIRS_SEED = 9_100, 17  # used by no other program
STEPS = (1, 5, 10, 15, 20)
BATCH = 10


def of_clips(preview: LinearPreview, codec: LatentCodec, count: int) -> dict[str, dict[str, float]]:
    """Previews of held-out clips."""
    clips = [critters.draw_video(CLIPS_SEED, index, "held_out") for index in range(count)]
    latents, own = zip(*encoded_pairs(codec, clips), strict=True)
    shown = [preview.frames(one) for one in latents]
    decoded = [decoded_colors(codec, one) for one in latents]
    against = {"decoded": decoded, "clip": list(own), "next clip": [*decoded[1:], decoded[0]]}
    rows = {name: mean([*map(correlation, shown, colors)]) for name, colors in against.items()}
    return rows | {"decoded, moving": known([*map(moving, shown, decoded)])}


def moving(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of what changes over time; NaN where nothing does."""
    return correlation(*(one - one.mean(axis=0, keepdims=True, dtype=np.float64) for one in (a, b)))


def known(values: Sequence[float]) -> dict[str, float]:
    """The mean of the correlations that are defined."""
    return mean([value for value in values if not math.isnan(value)])


def decoded_colors(codec: LatentCodec, latents: Tensor) -> np.ndarray:
    """The colors of decoded latents (T, C, h, w) at the preview's size."""
    return colors_of(codec.decode(latents[None])[0].cpu().numpy(), codec.compression)


def of_steps(pipeline: refilm.Pipeline, preview: LinearPreview, count: int) -> dict[str, dict[str, dict[str, float]]]:
    """Previews during sampling, by step from 1."""
    found: dict[int, dict[str, list[float]]] = {step: defaultdict(list) for step in STEPS}
    pairs, codec = held_out_pairs(PAIRS_SEED, count), pipeline.base.encoders.autoencoder
    for start in range(0, count, BATCH):
        batch = pairs[start : start + BATCH]
        estimates = sampled(pipeline, [pair.story.caption for pair in batch], [pair.image for pair in batch], start)
        for index in range(len(batch)):
            decoded = {step: decoded_colors(codec, clean[index]) for step, clean in estimates.items()}
            for step, clean in estimates.items():
                shown, finished = preview.frames(clean[index]), decoded[STEPS[-1]]
                found[step]["decoded"].append(correlation(shown, decoded[step]))
                found[step]["finished"].append(correlation(shown, finished))
                found[step]["decoded against finished"].append(correlation(decoded[step], finished))
                found[step]["decoded, moving"].append(moving(shown, decoded[step]))
                found[step]["finished, moving"].append(moving(shown, finished))
                found[step]["decoded against finished, moving"].append(moving(decoded[step], finished))
        print(f"{start + len(batch)} of {count} videos", flush=True)
    return {str(step): {name: known(values) for name, values in rows.items()} for step, rows in found.items()}


def sampled(pipeline: refilm.Pipeline, prompts: Sequence[str], images: Sequence[Any], seed: int) -> dict[int, Tensor]:
    """The clean estimates (B, T, C, h, w) of some steps, with the model's default guidance."""
    seeds = [seed + index for index in range(len(prompts))]
    steps = pipeline.sample(prompts, images, seeds=seeds, request=pipeline.request(steps=STEPS[-1]))
    return {step.index + 1: step.clean for step in steps if step.index + 1 in STEPS}


def seconds(pipeline: refilm.Pipeline, preview: LinearPreview, repeats: int) -> dict[str, float]:
    """Medians for one video: a sampler step, and what can show its estimate."""
    (pair,) = held_out_pairs(PAIRS_SEED, 1)
    codec, fps = pipeline.base.encoders.autoencoder, pipeline.base.defaults.fps
    works: dict[str, Callable[[Tensor], object]] = {
        "frames": preview.frames,
        "video": lambda latents: preview.video(latents, fps),
        "decode": lambda latents: codec.decode(latents[None]),
    }
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(repeats):
        request = pipeline.request(steps=STEPS[-1])
        steps = pipeline.sample([pair.story.caption], [pair.image], seeds=[0], request=request)
        next(steps)  # also encodes prompt and image
        while True:
            started = time.perf_counter()
            step = next(steps, None)
            if step is None:
                break
            found["step"].append(time.perf_counter() - started)
            for name, work in works.items():
                found[name].append(timed(lambda work=work, step=step: work(step.clean[0])))
    return {name: statistics.median(values) for name, values in found.items()}


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def of_cogvideox(model: Model, repeats: int) -> dict[str, Any]:
    """FLOPs of a step with guidance, two forwards with an adapter, and of what can show its estimate."""
    _, frames, channels, height, width = model.shapes["latents"]
    preview = LinearPreview(torch.randn(3, channels), torch.zeros(3), Compression())
    latents = torch.randn(frames, channels, height, width)
    works: dict[str, Callable[[], object]] = {"linear": lambda: preview.frames(latents)}
    tiny = flops(lambda: TinyNetwork(channels)(torch.empty(1, channels, height, width), {}), fake=True) * frames
    full = flops(lambda: Autoencoder().decode(torch.empty(1, channels, frames, height, width), at_once=2), fake=True)
    return {
        "model": model.name,
        "latents": [frames, channels, height, width],
        "step_tflop": 2 * measure_forward(model)["tflop"],
        "linear_tflop": flops(works["linear"]) / 1e12,
        "tiny_tflop": tiny / 1e12,
        "decode_tflop": full / 1e12,
        "linear_seconds": statistics.median(timed(works["linear"]) for _ in range(4 * repeats)),
    }


@torch.no_grad()
def flops(work: Callable[[], object], *, fake: bool = False) -> int:
    """Counted; with `fake` on shapes alone."""
    with FlopCounterMode(display=False) as counter:
        if fake:
            with FAKE:
                work()
        else:
            work()
    return counter.get_total_flops()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100, help="Held-out clips. Default: %(default)s.")
    parser.add_argument("--pairs", type=int, default=40, help="Pairs of image and prompt. Default: %(default)s.")
    parser.add_argument("--repeats", type=int, default=5, help="Videos that are timed. Default: %(default)s.")
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    torch.set_num_threads(1)
    pipeline = refilm.load("pocket", device="cpu")
    preview = preview_of(pipeline.base)
    assert isinstance(preview, LinearPreview)
    parts: dict[str, Callable[[], Any]] = {
        "clips": lambda: of_clips(preview, pipeline.base.encoders.autoencoder, options.clips),
        "steps": lambda: of_steps(pipeline, preview, options.pairs),
        "seconds": lambda: seconds(pipeline, preview, options.repeats),
        "cogvideox": lambda: of_cogvideox(MODELS["cogvideox-2b"], options.repeats),
    }
    result: dict[str, Any] = {}
    for name, measured in parts.items():
        result[name] = measured()
        write(out, result)


if __name__ == "__main__":
    main()
