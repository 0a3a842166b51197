"""Write critters as files in the users' layout: MP4 videos or stills, captions, reference images, manifest and card.

Clip `index` of (seed, split) is deterministic. Does not depend on how critters are drawn.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image

from refilm.data.critters.card import Draw, card
from refilm.data.critters.clips import (
    FPS,
    SIZE,
    draw_double,
    draw_double_portrait,
    draw_portrait,
    draw_still,
    draw_video,
)
from refilm.data.critters.stories import Story, double_story, story
from refilm.data.critters.subjects import Split
from refilm.data.examples import Example, Reference
from refilm.data.manifest import write_manifest
from refilm.errors import UserError
from refilm.files import write_text
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

    Creates `videos/00001.mp4`, `labels/00001.txt`, `ref_images/00001/1.png`, and finally `manifest.jsonl` and the data
    set's card, `README.md`. A clip with two subjects has one line for each subject, with its references and mask
    (`1.png` and `mask.mp4` in `subjects/00001/1/` and `subjects/00001/2/`).

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
    if subjects not in (1, 2):
        raise UserError(f"subjects must be 1 or 2, received {subjects}")
    draw = Draw(clips, split, seed, size, references, "two subjects" if subjects == 2 else "one subject")
    writer = _writer(Path(folder), draw, scale)
    return writer.write(writer.double if subjects == 2 else writer.single)


def write_stills(
    folder: Path | str,
    *,
    clips: int,
    split: Split,
    seed: int,
    size: int = SIZE,
    references: int = 2,
) -> Iterator[Path]:
    """Write a random frame of each clip that `write_clips` writes: `images/00001.png`, and captions without a motion.

    The images are not enlarged. The other files and the errors are those of `write_clips`.
    """
    writer = _writer(Path(folder), Draw(clips, split, seed, size, references, "stills"))
    return writer.write(writer.still)


def _writer(folder: Path, draw: Draw, scale: int | None = None) -> "_Writer":
    """A writer into an empty or new folder."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is not empty; choose an empty or new folder")
    if draw.split not in get_args(Split):
        raise UserError(f"split must be one of {', '.join(get_args(Split))}, received {draw.split!r}")
    for name, number in {"clips": draw.clips, "size": draw.size, "references": draw.references}.items():
        if number < 1:
            raise UserError(f"{name} must be 1 or more, received {number}")
    if draw.seed < 0:
        raise UserError(f"seed must be 0 or more, received {draw.seed}")
    return _Writer(folder, draw, scale)


@dataclass(frozen=True)
class _Writer:
    """Writes clips of (seed, split) into a folder."""

    folder: Path
    draw: Draw
    scale: int | None

    def write(self, one: Callable[[int, str], Sequence[Example]]) -> Iterator[Path]:
        """Write clips with the function `one`, and the manifest and the card last."""
        for part in ("images" if self.draw.kind == "stills" else "videos", "labels"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        examples: list[Example] = []
        digits = max(5, len(str(self.draw.clips)))
        for index in range(self.draw.clips):
            lines = one(index, f"{index + 1:0{digits}}")
            label = self.folder / "labels" / f"{lines[0].video.stem}.txt"
            label.write_text(lines[0].caption + "\n", encoding="utf-8")
            examples += lines
            yield lines[0].video
        write_manifest(self.folder / "manifest.jsonl", examples)
        write_text(self.folder / "README.md", card(self.draw))

    def single(self, index: int, name: str) -> list[Example]:
        """Write a clip with one subject."""
        place = (self.draw.seed, index, self.draw.split)
        video = self._video(f"videos/{name}.mp4", draw_video(*place, size=self.draw.size))
        return [self._example(index, name, video, story(*place))]

    def still(self, index: int, name: str) -> list[Example]:
        """Write a still with one subject."""
        place = (self.draw.seed, index, self.draw.split)
        image = self.folder / "images" / f"{name}.png"
        Image.fromarray(draw_still(*place, size=self.draw.size)).save(image)
        return [self._example(index, name, image, story(*place).still)]

    def _example(self, index: int, name: str, video: Path, content: Story) -> Example:
        """Write the portraits of a clip's only subject."""
        shown = [
            draw_portrait(self.draw.seed, index, self.draw.split, number=number, size=PORTRAIT_SIZE)
            for number in range(self.draw.references)
        ]
        images = self._portraits(f"ref_images/{name}", shown)
        return Example(video, content.caption, images, subject=content.subject.appearance)

    def double(self, index: int, name: str) -> list[Example]:
        """Write a clip with two subjects; returns one example for each subject."""
        own = (self.draw.seed, index, self.draw.split)
        content, shot = double_story(*own), draw_double(*own, size=self.draw.size)
        video = self._video(f"videos/{name}.mp4", shot.frames)
        examples = []
        for place, subject in enumerate(content.subjects):
            shown = [
                draw_double_portrait(*own, subject=place, number=number, size=PORTRAIT_SIZE)
                for number in range(self.draw.references)
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
