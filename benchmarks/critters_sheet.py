"""Draws the sheet of the page about critters: a reference image and four frames for each of twelve clips.

    python benchmarks/critters_sheet.py

Writes docs/assets/critters.png, or `--out`; measures nothing.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from refilm.data import critters

ASSET = Path(__file__).parents[1] / "docs" / "assets" / "critters.png"
SEED, COLUMNS, ROWS = 0, 2, 6
SHOWN = (0, 5, 10, 16)  # frames
GAP = 4  # pixels


def sheet() -> Image.Image:
    """The sheet, with the clips of `train` in their order."""
    strips = [strip(index) for index in range(COLUMNS * ROWS)]
    height, width = np.asarray(strips[0]).shape[:2]
    page = Image.new("RGB", (COLUMNS * (width + 3 * GAP) + GAP, ROWS * (height + GAP) + GAP), "white")
    for index, one in enumerate(strips):
        row, column = divmod(index, COLUMNS)
        page.paste(one, (2 * GAP + column * (width + 3 * GAP), GAP + row * (height + GAP)))
    return page


def strip(index: int) -> Image.Image:
    """A portrait and frames of a clip, side by side."""
    size = critters.SIZE
    video = critters.draw_video(SEED, index, "train")
    images = [critters.draw_portrait(SEED, index, "train", number=0, size=size), *(video[frame] for frame in SHOWN)]
    made = Image.new("RGB", (len(images) * (size + GAP) + GAP, size), "white")
    for place, pixels in enumerate(images):
        made.paste(Image.fromarray(pixels), (place * (size + GAP) + (2 * GAP if place else GAP), 0))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ASSET, help="Image to write. Default: %(default)s.")
    sheet().save(parser.parse_args().out, optimize=True)


if __name__ == "__main__":
    main()
