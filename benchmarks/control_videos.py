"""Generates the videos of the pages about directing a subject: each shows what a control does, side by side.

    python benchmarks/control_videos.py

Writes docs/assets/control/NAME.mp4. The images are of critters that no training clip shows; nothing is selected.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import refilm
from refilm import Subject
from refilm.media import Video
from refilm.pocket.pairs import held_out_pairs

ASSETS = Path(__file__).parents[1] / "docs" / "assets" / "control"
PAIRS_SEED = 17  # used by no other program
GAP = 4  # pixels
LEFT = np.pad(np.full((64, 32), 255, np.uint8), ((0, 0), (0, 32)))
PROMPT = "a critter bounces in the meadow"


def beside(videos: list[np.ndarray]) -> np.ndarray:
    """Videos side by side; shorter ones hold their last frame."""
    longest = max(map(len, videos))
    padded = [np.concatenate([video, video[-1:].repeat(longest - len(video), 0)]) for video in videos]
    gap = np.full((longest, padded[0].shape[1], GAP, 3), 255, np.uint8)
    return np.concatenate([part for video in padded for part in (video, gap)][:-1], axis=2)


def controls(fox: Image.Image, ball: Image.Image) -> dict[str, list[tuple[Any, dict[str, Any]]]]:
    """For each page's video the references and settings of its parts."""
    both = [Subject(name="fox", images=fox), Subject(name="ball", images=ball)]
    masked = [Subject(name="fox", images=fox, mask=LEFT), Subject(name="ball", images=ball, mask=255 - LEFT)]
    return {
        "scale": [(fox, {"reference_scale": scale}) for scale in (0.0, 0.5, 1.0, 1.5)],
        "cue": [(fox, {}), (Subject(images=fox, frames="10-17"), {}), (Subject(images=fox, frames="1-9"), {})],
        "steps": [(fox, {}), (Subject(images=fox, steps="6-20"), {}), (Subject(images=fox, steps="1-6"), {})],
        "where": [(fox, {}), (Subject(images=fox, mask=LEFT), {}), (Subject(images=fox, words="critter"), {})],
        "subjects": [(fox, {}), (ball, {}), (both, {}), (masked, {}), (masked, {"binding": "joint"})],
        "guidance": [(fox, {"guidance": scale}) for scale in (1.0, 4.0)]
        + [(fox, {"guidance": 10.0}), (fox, {"guidance": 10.0, "guidance_form": "projected"})],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ASSETS, help="Folder of the videos.")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    pipeline = refilm.load("pocket")
    first, second = (pair.image for pair in held_out_pairs(PAIRS_SEED, 2))
    for name, parts in controls(first, second).items():
        made = [pipeline.generate(PROMPT, subject, seed=7, steps=20, **settings) for subject, settings in parts]
        Video(beside([video.frames for video in made]), made[0].fps).save(options.out / f"{name}.mp4", scale=2)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
