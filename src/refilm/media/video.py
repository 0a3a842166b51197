"""A film in memory: frames and their rate. Saves itself and shows itself in notebooks.

Knows nothing of where the frames came from.
"""

import base64
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from refilm.media import writing

SHORTER_SIDE = 256  # pixels; films smaller than this are enlarged when saved
SLOWEST, FASTEST = 0.01, 1000.0  # frames a second: what MP4 and GIF can both time


@dataclass(frozen=True, eq=False, repr=False)
class Video:
    """A film.

    Raises:
        ValueError: frames of another kind or shape, none at all, or a rate outside 0.01..1000.
    """

    frames: np.ndarray
    """(F, H, W, 3) uint8, RGB."""

    fps: float
    """Frames a second."""

    def __post_init__(self) -> None:
        if not isinstance(self.frames, np.ndarray):
            raise ValueError(
                f"frames must be a numpy array (F, H, W, 3) of uint8, received {type(self.frames).__name__}"
            )
        shape = self.frames.shape
        if self.frames.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or 0 in shape:
            raise ValueError(
                f"frames must be (F, H, W, 3) of uint8, none of them 0, received {shape} of {self.frames.dtype}"
            )
        if not SLOWEST <= self.fps <= FASTEST:
            raise ValueError(f"fps must lie between {SLOWEST} and {FASTEST:g} frames a second, received {self.fps}")
        object.__setattr__(self, "fps", float(self.fps))

    def __repr__(self) -> str:
        frames, height, width, _ = self.frames.shape
        return f"Video({frames} frames, {width} x {height} pixels, {self.fps:g} fps)"

    def save(self, path: Path | str, *, scale: int | None = None) -> list[Path]:
        """Write the film to `path` and return the files written. A file of that name is replaced, whole or not at all.

        The suffix says how: `.mp4` (H.264; a side that is odd gains a pixel, as H.264 needs), `.gif` (looping;
        255 colors; runs of equal frames become one, shown longer), `.png` (`name.png` gives `name-000.png`...).

        Args:
            scale: whole factor to enlarge by, without smoothing. None enlarges a film whose shorter side is
                below 256 pixels until it is not, except in `.png`.

        Raises:
            ValueError: an unknown suffix, no such folder, one that cannot be written to, or a scale that is not a whole
                number from 1 up.
        """
        path = Path(path)
        suffix = writing.check_target(path)
        if scale is None:
            scale = 1 if suffix == ".png" else math.ceil(SHORTER_SIDE / min(SHORTER_SIDE, *self.frames.shape[1:3]))
        if not isinstance(scale, int) or scale < 1:
            raise ValueError(f"scale must be a whole number from 1 up, received {scale!r}")
        if suffix == ".png":
            return writing.write_pngs(path, self.frames, scale)
        write = writing.write_mp4 if suffix == ".mp4" else writing.write_gif
        write(path, self.frames, self.fps, scale)
        return [path]

    def contact_sheet(self, columns: int = 6) -> Image.Image:
        """All frames on one white picture, row by row, `columns` of them side by side."""
        if columns < 1:
            raise ValueError(f"columns must be 1 or more, received {columns}")
        frames, height, width, _ = self.frames.shape
        columns = min(columns, frames)
        rows = math.ceil(frames / columns)
        sheet = np.full((rows * columns, height, width, 3), 255, dtype=np.uint8)
        sheet[:frames] = self.frames
        sheet = sheet.reshape(rows, columns, height, width, 3).swapaxes(1, 2)  # (rows, H, columns, W, 3)
        return Image.fromarray(sheet.reshape(rows * height, columns * width, 3))

    def _repr_html_(self) -> str:
        """The film itself, playing, for notebooks."""
        with tempfile.TemporaryDirectory() as folder:
            (file,) = self.save(Path(folder) / "film.mp4")
            data = base64.b64encode(file.read_bytes()).decode()
        return f'<video controls autoplay loop muted playsinline src="data:video/mp4;base64,{data}"></video>'
