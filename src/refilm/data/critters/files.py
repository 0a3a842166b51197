"""Write critters as files in the users' layout: MP4 videos, captions, reference images, and a manifest.

Clip `index` of (seed, split) is deterministic. Does not depend on how critters are drawn.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image

from refilm.data.critters.clips import FPS, SIZE, draw_double, draw_double_portrait, draw_portrait, draw_video
from refilm.data.critters.stories import double_story, story
from refilm.data.critters.subjects import Split
from refilm.data.examples import Example, Reference
from refilm.data.manifest import write_manifest
from refilm.errors import UserError
from refilm.media import Video

PORTRAIT_SIZE = 256  # pixels


def write_clips(
    folder: Path | str,
    *,
    clips: int,
    split: Split,
    seed: int,
    subjects: int = 1,
    size: int = SIZE,
    references: int = 2,
    scale: int | None = None,
) -> Iterator[Path]:
    """Write the first `clips` clips of (seed, split) to an empty or new folder; yields each video path when written.

    Creates `videos/00001.mp4`, `labels/00001.txt`, `ref_images/00001/1.png`, and finally `manifest.jsonl`. A clip
    with two subjects has one line for each subject, with its references and mask (`1.png` and `mask.mp4` in
    `subjects/00001/1/` and `subjects/00001/2/`).

    Args:
        subjects: number of subjects in each clip, 1 or 2.
        size: height and width at which the videos are drawn, in pixels.
        references: number of portraits of each subject of a clip.
        scale: integer factor by which the videos are enlarged, without smoothing, because H.264 stores colors at half
            resolution. None: the smallest factor that gives 256 pixels. Scaled back to `size`, the videos are nearly
            identical to the drawn pixels.

    Raises:
        UserError: the folder is not empty, or a number or the split is invalid.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is not empty; choose an empty or new folder")
    if split not in get_args(Split):
        raise UserError(f"split must be one of {', '.join(get_args(Split))}, received {split!r}")
    if subjects not in (1, 2):
        raise UserError(f"subjects must be 1 or 2, received {subjects}")
    for name, number in {"clips": clips, "size": size, "references": references}.items():
        if number < 1:
            raise UserError(f"{name} must be 1 or more, received {number}")
    if seed < 0:
        raise UserError(f"seed must be 0 or more, received {seed}")
    writer = _Writer(folder, split, seed, size, references, scale)
    return writer.write(clips, writer.double if subjects == 2 else writer.single)


@dataclass(frozen=True)
class _Writer:
    """Writes clips of (seed, split) into a folder."""

    folder: Path
    split: Split
    seed: int
    size: int
    references: int
    scale: int | None

    def write(self, clips: int, one: Callable[[int, str], Sequence[Example]]) -> Iterator[Path]:
        """Write clips with the function `one`, and the manifest last."""
        for part in ("videos", "labels"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        examples: list[Example] = []
        digits = max(5, len(str(clips)))
        for index in range(clips):
            lines = one(index, f"{index + 1:0{digits}}")
            label = self.folder / "labels" / f"{lines[0].video.stem}.txt"
            label.write_text(lines[0].caption + "\n", encoding="utf-8")
            examples += lines
            yield lines[0].video
        write_manifest(self.folder / "manifest.jsonl", examples)

    def single(self, index: int, name: str) -> list[Example]:
        """Write a clip with one subject."""
        content = story(self.seed, index, self.split)
        video = self._video(f"videos/{name}.mp4", draw_video(self.seed, index, self.split, size=self.size))
        shown = [
            draw_portrait(self.seed, index, self.split, number=number, size=PORTRAIT_SIZE)
            for number in range(self.references)
        ]
        images = self._portraits(f"ref_images/{name}", shown)
        return [Example(video, content.caption, images, subject=content.subject.appearance)]

    def double(self, index: int, name: str) -> list[Example]:
        """Write a clip with two subjects; returns one example for each subject."""
        content = double_story(self.seed, index, self.split)
        shot = draw_double(self.seed, index, self.split, size=self.size)
        video = self._video(f"videos/{name}.mp4", shot.frames)
        examples = []
        for place, subject in enumerate(content.subjects):
            shown = [
                draw_double_portrait(self.seed, index, self.split, subject=place, number=number, size=PORTRAIT_SIZE)
                for number in range(self.references)
            ]
            home = f"subjects/{name}/{place + 1}"
            images = self._portraits(home, shown)
            white = np.repeat(255 * shot.masks[place, ..., None].astype(np.uint8), 3, axis=-1)
            mask = self._video(f"{home}/mask.mp4", white)
            examples.append(Example(video, content.caption, images, subject=subject.appearance, mask=mask))
        return examples

    def _video(self, name: str, frames: np.ndarray) -> Path:
        Video(frames, FPS).save(self.folder / name, scale=self.scale)
        return self.folder / name

    def _portraits(self, name: str, portraits: Sequence[np.ndarray]) -> tuple[Reference, ...]:
        home = self.folder / name
        home.mkdir(parents=True)
        for number, portrait in enumerate(portraits, start=1):
            Image.fromarray(portrait).save(home / f"{number}.png")
        return tuple(Reference(home / f"{number}.png") for number in range(1, len(portraits) + 1))
