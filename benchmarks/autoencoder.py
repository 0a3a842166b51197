"""How well a base model's autoencoder keeps held-out clips, and how fast it is beside diffusers' own convolutions.

    python benchmarks/autoencoder.py [--base pocket] [--clips 100] [--turns 9]

Times are medians of single clips on one thread, both kinds taking turns. Writes benchmarks/results/autoencoder.json,
or `--out`.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from copy import deepcopy

import torch
from diffusers import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import CogVideoXSafeConv3d
from record import RESULTS, add_out, target, write

from refilm.checkpoints import load_base
from refilm.data import critters
from refilm.evaluation import psnr

RESULT = RESULTS / "autoencoder.json"
SEED = 9_000  # no other program draws these clips


def unfolded(model: AutoencoderKLCogVideoX) -> AutoencoderKLCogVideoX:
    """A copy that convolves as diffusers does."""
    plain = deepcopy(model)
    for module in plain.modules():
        if isinstance(module, CogVideoXSafeConv3d):
            module.__class__ = CogVideoXSafeConv3d
    return plain


def seconds(work: Callable[[AutoencoderKLCogVideoX], object], model: AutoencoderKLCogVideoX) -> float:
    started = time.perf_counter()
    work(model)
    return time.perf_counter() - started


def times(model: AutoencoderKLCogVideoX, turns: int) -> dict[str, dict[str, float]]:
    """Median seconds a clip of what the autoencoder does, folded and as diffusers does it."""
    plain = unfolded(model)
    video = torch.from_numpy(critters.draw_video(SEED, 0, "held_out"))[None].permute(0, 4, 1, 2, 3) / 127.5 - 1
    with torch.no_grad():
        latents = model.encode(video).latent_dist.mean
    works: dict[str, Callable[[AutoencoderKLCogVideoX], object]] = {
        "encode": torch.no_grad()(lambda one: one.encode(video)),
        "decode": torch.no_grad()(lambda one: one.decode(latents)),
        "train": lambda one: one.decode(one.encode(video).latent_dist.mean).sample.square().mean().backward(),
    }
    taken: dict[str, dict[str, float]] = {}
    for name, work in works.items():
        pairs = [(seconds(work, model), seconds(work, plain)) for _ in range(turns + 1)][1:]
        ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(theirs / ours for ours, theirs in pairs)
        taken[name] = {"folded": ours, "diffusers": theirs, "ratio": ratio}
    return taken


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", default="pocket")
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--turns", type=int, default=9, help="of timing; 0: no times are taken")
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    autoencoder = load_base(options.base, device="cpu").encoders.autoencoder
    whole, first = [], []
    for index in range(options.clips):
        video = torch.from_numpy(critters.draw_video(SEED, index, "held_out"))[None]
        decoded = autoencoder.decode(autoencoder.posterior(video)[0])
        whole.append(psnr(decoded.numpy(), video.numpy()))
        first.append(psnr(decoded[:, :1].numpy(), video[:, :1].numpy()))
    result = {
        "base": options.base,
        "clips": options.clips,
        "psnr_mean": statistics.mean(whole),
        "psnr_lowest": min(whole),
        "psnr_first_frame_mean": statistics.mean(first),
    }
    if options.turns:
        torch.set_num_threads(1)
        result["seconds_a_clip"] = times(autoencoder.model.float(), options.turns)
    write(out, result)


if __name__ == "__main__":
    main()
