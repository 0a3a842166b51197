"""How well a base model's autoencoder keeps held-out clips.

    python benchmarks/autoencoder.py [--base pocket] [--clips 100]

Writes benchmarks/results/autoencoder.json.
"""

import argparse
import json
import statistics
from pathlib import Path

import torch

from refilm.checkpoints import load_base
from refilm.data import critters
from refilm.evaluation import machine, psnr

RESULTS = Path(__file__).parent / "results" / "autoencoder.json"
SEED = 9_000  # no other program draws these clips


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", default="pocket")
    parser.add_argument("--clips", type=int, default=100)
    options = parser.parse_args()
    autoencoder = load_base(options.base, device="cpu").encoders.autoencoder
    whole, first = [], []
    for index in range(options.clips):
        video = torch.from_numpy(critters.draw_film(SEED, index, "held_out"))[None]
        decoded = autoencoder.decode(autoencoder.posterior(video)[0])
        whole.append(psnr(decoded.numpy(), video.numpy()))
        first.append(psnr(decoded[:, :1].numpy(), video[:, :1].numpy()))
    result = {
        "machine": machine(),
        "base": options.base,
        "clips": options.clips,
        "psnr_mean": statistics.mean(whole),
        "psnr_lowest": min(whole),
        "psnr_first_frame_mean": statistics.mean(first),
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
