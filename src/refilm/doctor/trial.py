"""A trial of everything together: the pocket model generates a video, which is written and read again."""

import tempfile
import time
from pathlib import Path

from refilm.doctor.checks import Check, ok, problem

STEPS, NAME = 2, "video of pocket"


def generate(device: str | None = None) -> Check:
    """Generate a video of a critter from its image, in a temporary folder."""
    import numpy as np

    from refilm.data import critters
    from refilm.generation import load
    from refilm.media import open_video

    started = time.perf_counter()
    image = critters.portrait(critters.subjects("held_out")[0], np.random.default_rng(0), size=64)
    video = load("pocket", device=device).generate("a critter bounces in the meadow", image, seed=0, steps=STEPS)
    with tempfile.TemporaryDirectory(prefix="refilm-doctor-") as folder:
        path = Path(folder) / "video.mp4"
        video.save(path, scale=1)
        read = open_video(path).frames
    if read.shape != video.frames.shape or read.min() == read.max():
        return problem(
            NAME,
            f"generated {video.frames.shape}, but the file has {read.shape}, of {read.min()} to {read.max()}",
            "Reinstall PyAV and torch in a new environment, and run this command again.",
        )
    frames, height, width, _ = read.shape
    seconds = time.perf_counter() - started
    return ok(NAME, f"{frames} frames of {width} x {height}, {STEPS} steps, written and read again in {seconds:.1f} s")
