"""The sentences and tables with figures of docs/cogvideox-2b.md, generated from result files."""

import tomllib
from itertools import pairwise

from refilm.recipes import recipe_of

from ..docs.pages import blocks
from .results import result

NAMES = {
    "transformer": "transformer",
    "text encoder": "T5 v1.1 XXL, the text encoder",
    "autoencoder": "autoencoder",
    "image encoder": "CLIP ViT-L/14, the image encoder",
}


def cogvideox() -> list[str]:
    counted = result("cogvideox")
    return [*_downloads(counted), *_disk(counted), *_memory(counted), *_time(counted), *_losses()]


def _downloads(counted) -> list[str]:
    files = counted["downloads"]
    total = sum(file["bytes"] for file in files.values())
    rows = [
        f"| {NAMES[name]} | {file['parameters']:,} | {file['bytes_per_parameter']} | {file['bytes'] / 1e9:.2f} GB |"
        for name, file in files.items()
    ]
    return [*rows, f"| together | | | {total / 1e9:.1f} GB |"]


def _disk(counted) -> list[str]:
    cache, adapter = counted["cache_bytes"], counted["adapter"]
    clip = cache["latents"] + cache["text"] + 3 * cache["references"]
    return [
        f"{cache['latents'] / 1e6:.2f} MB for its latents, {cache['text'] / 1e6:.2f} MB for its caption, and "
        f"{cache['references'] / 1e6:.2f} MB for each image and each augmented version",
        f"With one image and `--views 2` that is {clip / 1e6:.1f} MB per clip, {clip / 1e6:.1f} GB for a thousand.",
        f"{adapter['checkpoint']['adamw'] / 1e9:.1f} GB per checkpoint",
        f"The finished adapter takes {adapter['file'] / 1e9:.2f} GB",
    ]


def _memory(counted) -> list[str]:
    step = result("training_memory")["steps"]["adapter, autocast, selective"]
    base, trained = counted["downloads"]["transformer"]["bytes"], counted["adapter"]["trained"]["adamw"]
    peak = step["peak_gib"] * 2**30
    return [
        f"| frozen transformer, bfloat16 | {base / 1e9:.1f} GB |",
        f"| adapter: weights, gradients, moments and average, float32 | {trained / 1e9:.1f} GB |",
        f"| activations at their peak, one clip at a time | {peak / 1e9:.1f} GB |",
        f"| together | {sum(round(part / 1e9, 1) for part in (base, trained, peak)):.1f} GB |",
    ]


def _time(counted) -> list[str]:
    forward, encode = counted["forward_tflop"], counted["encoding_tflop"]
    step = result("training_memory")["steps"]["adapter, autocast, selective"]["tflop"]
    still = step * forward["still"] / forward["clip"]
    run = sum(samples * (still if stills else step) for stills, samples in _lessons())
    clip = encode["latents"] + encode["text"] + 3 * encode["references"]
    video = 50 * 2 * forward["clip"] + encode["decode"] + encode["text"]
    work = {
        "encode 1,000 clips": 1000 * clip,
        "1,000 training samples, stills": 1000 * still,
        "1,000 training samples, whole clips": 1000 * step,
        "the recipe above": run,
        "one video, 50 steps with guidance": video,
    }
    rates = {name: counted["utilization"] * rate for name, rate in counted["gpus"].items()}
    return [
        f"assume {100 * counted['utilization']:.0f} % of",
        "{}, {} and {}.".format(*(f"{rate} TFLOP/s ({name})" for name, rate in counted["gpus"].items())),
        *(
            f"| {what} | {tflop / 1000:,.0f} PFLOP | {' | '.join(_duration(tflop / rate) for rate in rates.values())} |"
            for what, tflop in work.items()
        ),
    ]


def _lessons() -> list[tuple[bool, int]]:
    """The lessons of the page's recipe: whether they are on stills, and their number of samples."""
    (block,) = (block for block in blocks("cogvideox-2b.md") if block.kind == "toml")
    recipe = recipe_of(tomllib.loads(block.code))
    lessons = recipe.diffusion.curriculum
    ends = [0, *(lesson.until for lesson in lessons[:-1]), recipe.loop.steps]
    return [
        (lesson.latent_frames == 1, lesson.batch * (end - start))
        for lesson, (start, end) in zip(lessons, pairwise(ends), strict=True)
    ]


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _losses() -> list[str]:
    first, second = (result(f"study/winners-{seed}")["scores"] for seed in (0, 1))
    both = {name: f"{first[name]:.4f} and {second[name]:.4f}" for name in ("right", "wrong", "gap")}
    return [
        f"the loss is {first['none']:.4f} without an image, {both['right']} with the right one and {both['wrong']} "
        f"with a wrong one, at the two seeds: gaps of {both['gap']}."
    ]
