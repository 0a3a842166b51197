"""A video in memory: frames and their rate, with methods to save it and a notebook display.

Independent of where the frames come from.
"""

import base64
import math
import operator
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
from PIL import Image

from refilm.arguments import checked
from refilm.errors import UserError
from refilm.media import writing

if TYPE_CHECKING:
    from torch import Tensor

SHORTER_SIDE = 256  # pixels; smaller videos are enlarged when saved
SLOWEST, FASTEST = 0.01, 1000.0  # fps that both MP4 and GIF support


@dataclass(frozen=True, eq=False, repr=False)
class Video:
    """A video in memory: frames in sRGB and their rate.

    It is a sequence of frames: `len(video)`, `video[0]` (an array), `video[8:16]` (a shorter video), and iteration.
    In a notebook it is displayed as a player.

    Raises:
        UserError: the frames have a wrong type or shape or are empty, or the rate is outside 0.01..1000. Floats are
            refused instead of rounded, because they can be NaN.
    """

    frames: np.ndarray
    """(F, H, W, 3) uint8, RGB."""

    fps: float
    """Frames per second."""

    note: str | None = None
    """A text in the metadata of its files, such as how it was made (`refilm.generation.VideoRecipe`)."""

    def __post_init__(self) -> None:
        if not isinstance(self.frames, np.ndarray):
            raise UserError(
                f"frames must be a numpy array (F, H, W, 3) of uint8, received {type(self.frames).__name__}"
            )
        shape = self.frames.shape
        if self.frames.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or 0 in shape:
            raise UserError(
                f"frames must be (F, H, W, 3) of uint8 and not empty, received {shape} of {self.frames.dtype}"
            )
        known = isinstance(self.fps, int | float | np.number | Fraction) and not isinstance(self.fps, bool)
        if not known or not SLOWEST <= self.fps <= FASTEST:
            raise UserError(f"fps must be between {SLOWEST} and {FASTEST:g}, received {self.fps!r}")
        object.__setattr__(self, "fps", float(self.fps))

    def __repr__(self) -> str:
        frames, height, width, _ = self.frames.shape
        return f"Video({frames} frames, {width} x {height} pixels, {self.fps:g} fps)"

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.frames)

    @overload
    def __getitem__(self, index: int, /) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice, /) -> "Video": ...
    def __getitem__(self, index: int | slice, /) -> "np.ndarray | Video":
        """One frame, (H, W, 3) uint8; or for a slice a video at the same speed: every second frame at half the rate.

        Raises:
            IndexError: there is no such frame.
            UserError: the slice is empty.
        """
        if not isinstance(index, slice):
            return self.frames[operator.index(index)]
        return Video(self.frames[index], self.fps / abs(index.step or 1))  # no longer what the note describes

    def __iter__(self) -> Iterator[np.ndarray]:
        """Iterate over the frames: (H, W, 3) uint8 each."""
        return iter(self.frames)

    def to_pil(self) -> list[Image.Image]:
        """The frames as Pillow RGB images."""
        return [Image.fromarray(frame) for frame in self.frames]

    def to_tensor(self) -> "Tensor":
        """A copy of the frames for PyTorch: (F, 3, H, W) float32 on the CPU, 0..1."""
        import torch  # slow to import, and not needed to read and write videos

        return torch.from_numpy(self.frames.transpose(0, 3, 1, 2).copy()).float() / 255

    @checked
    def save(self, path: Path | str, *, scale: int | None = None, fps: float | None = None) -> list[Path]:
        """Write the video to `path` and return the paths of the written files. An existing file is replaced atomically.

        The suffix determines the format: `.mp4` (H.264) and `.webm` (VP9; both pad odd sides by one pixel), `.gif`
        (looping, 255 colors; equal consecutive frames are merged), `.webp` (animated, looping), `.png` (`name.png`
        gives `name-000.png`...).

        Args:
            scale: integer factor to enlarge by, without smoothing. Default: the smallest factor that gives a shorter
                side of at least 256 pixels; 1 for `.png`.
            fps: frame rate of the file; another rate changes the speed. Default: the video's own.

        Raises:
            UserError: the suffix is unknown, the folder does not exist or is not writable, the rate is outside
                0.01..1000, `scale` is not an integer from 1 to 64, or a side is too long for the format.
            OSError: the file cannot be written, for example because the disk is full. The error names it.
        """
        if fps is not None:
            return replace(self, fps=fps).save(path, scale=scale)
        path = Path(path)
        suffix = writing.check_target(path)
        if scale is None:
            scale = 1 if suffix == ".png" else math.ceil(SHORTER_SIDE / min(SHORTER_SIDE, *self.frames.shape[1:3]))
        elif not isinstance(scale, int) or isinstance(scale, bool) or not 1 <= scale <= writing.LARGEST_SCALE:
            raise UserError(f"scale must be an integer from 1 to {writing.LARGEST_SCALE}, received {scale!r}")
        height, width = self.frames.shape[1:3]
        writing.check_size(path, height, width, scale)
        if suffix == ".png":
            return writing.write_pngs(path, self.frames, scale, self.note)
        write = {".gif": writing.write_gif, ".webp": writing.write_webp}.get(suffix, writing.write_video)
        write(path, self.frames, self.fps, scale, self.note)
        return [path]

    @checked
    def contact_sheet(self, columns: int = 6) -> Image.Image:
        """All frames on one white image, in rows of `columns` frames."""
        if columns < 1:
            raise UserError(f"columns must be 1 or more, received {columns}")
        frames, height, width, _ = self.frames.shape
        columns = min(columns, frames)
        rows = math.ceil(frames / columns)
        sheet = np.full((rows * columns, height, width, 3), 255, dtype=np.uint8)
        sheet[:frames] = self.frames
        sheet = sheet.reshape(rows, columns, height, width, 3).swapaxes(1, 2)  # (rows, H, columns, W, 3)
        return Image.fromarray(sheet.reshape(rows * height, columns * width, 3))

    def _repr_html_(self) -> str:
        """HTML with the embedded MP4, for notebooks."""
        with tempfile.TemporaryDirectory() as folder:
            (file,) = self.save(Path(folder) / "video.mp4")
            data = base64.b64encode(file.read_bytes()).decode()
        return f'<video controls autoplay loop muted playsinline src="data:video/mp4;base64,{data}"></video>'
