"""An image above a progress bar, drawn with half blocks: two pixels for each character of a terminal."""

from collections.abc import Iterable

import numpy as np
from rich.console import RenderableType
from rich.progress import Progress
from rich.style import Style
from rich.text import Text

UPPER = "\u2580"  # its foreground is the upper pixel, its background the lower one
WIDEST = 48  # characters


class ImageProgress(Progress):
    """A progress display with an image above its bars."""

    image: RenderableType | None = None
    """What is shown above the bars, if anything."""

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.image is not None:
            yield self.image
        yield from super().get_renderables()


def half_blocks(pixels: np.ndarray) -> Text:
    """(H, W, 3) uint8 as text; larger images are thinned out."""
    step = -(-pixels.shape[1] // WIDEST)
    small = pixels[::step, ::step]
    small = np.pad(small, ((0, len(small) % 2), (0, 0), (0, 0)), mode="edge")
    text = Text()
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        for above, below in zip(upper, lower, strict=True):
            text.append(UPPER, Style(color=_hex(above), bgcolor=_hex(below)))
        text.append("\n")
    return text


def _hex(pixel: np.ndarray) -> str:
    return "#" + bytes(pixel).hex()
