"""How well a base model's autoencoder reconstructs held-out clips with one and with two critters, and its speed against
diffusers' convolutions.

    python benchmarks/autoencoder.py [--base pocket] [--clips 100] [--turns 9]

Times are medians of single clips on one thread, alternating between both. Writes benchmarks/results/autoencoder.json,
or `--out`.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from copy import deepcopy

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import CogVideoXSafeConv3d
from judging import through_autoencoder
from record import RESULTS, add_out, target, write

from refilm.checkpoints import load_base
from refilm.data import critters
from refilm.encoders.protocols import LatentCodec
from refilm.evaluation import psnr

RESULT = RESULTS / "autoencoder.json"
SEED = 9_000  # used by no other program


def unfolded(model: AutoencoderKLCogVideoX) -> AutoencoderKLCogVideoX:
    """A copy with diffusers' own convolutions."""
    plain = deepcopy(model)
    for module in plain.modules():
        if isinstance(module, CogVideoXSafeConv3d):
            module.__class__ = CogVideoXSafeConv3d
    return plain


def reconstruction(autoencoder: LatentCodec, videos: Sequence[np.ndarray]) -> tuple[list[float], list[float]]:
    """The PSNR in dB of each reconstructed video, and of its first frame."""
    pairs = list(zip(through_autoencoder(autoencoder, videos), videos, strict=True))
    return [psnr(*two) for two in pairs], [psnr(made[0], drawn[0]) for made, drawn in pairs]


def seconds(work: Callable[[AutoencoderKLCogVideoX], object], model: AutoencoderKLCogVideoX) -> float:
    started = time.perf_counter()
    work(model)
    return time.perf_counter() - started


def times(model: AutoencoderKLCogVideoX, turns: int) -> dict[str, dict[str, float]]:
    """Median seconds per clip of each operation, with folded convolutions and with diffusers'."""
    plain = unfolded(model)
    video = torch.from_numpy(critters.draw_video(SEED, 0, "held_out"))[None].permute(0, 4, 1, 2, 3) / 127.5 - 1
    with torch.no_grad():
        latents = model.encode(video).latent_dist.mean
    works: dict[str, Callable[[AutoencoderKLCogVideoX], object]] = {
        "encode": torch.no_grad()(lambda one: one.encode(video)),
        "decode": torch.no_grad()(lambda one: one.decode(latents)),
        "train": lambda one: one.decode(one.encode(video).latent_dist.mean).sample.square().mean().backward(),
    }
    medians: dict[str, dict[str, float]] = {}
    for name, work in works.items():
        pairs = [(seconds(work, model), seconds(work, plain)) for _ in range(turns + 1)][1:]
        ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(theirs / ours for ours, theirs in pairs)
        medians[name] = {"folded": ours, "diffusers": theirs, "ratio": ratio}
    return medians


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="pocket", help="Base model: pocket, or a folder.")
    parser.add_argument("--clips", type=int, default=100, help="Held-out clips. Default: %(default)s.")
    parser.add_argument("--turns", type=int, default=9, help="Turns of timing; 0 skips timing. Default: %(default)s.")
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    autoencoder = load_base(options.base, device="cpu").encoders.autoencoder
    one = [critters.draw_video(SEED, index, "held_out") for index in range(options.clips)]
    two = [critters.draw_double(SEED, index, "held_out").frames for index in range(options.clips)]
    whole, first = reconstruction(autoencoder, one)
    doubles, _ = reconstruction(autoencoder, two)
    result = {
        "base": options.base,
        "clips": options.clips,
        "psnr_mean": statistics.mean(whole),
        "psnr_lowest": min(whole),
        "psnr_first_frame_mean": statistics.mean(first),
        "psnr_doubles_mean": statistics.mean(doubles),
        "psnr_doubles_lowest": min(doubles),
    }
    if options.turns:
        torch.set_num_threads(1)
        result["seconds_a_clip"] = times(autoencoder.model.float(), options.turns)
    write(out, result)


if __name__ == "__main__":
    main()
