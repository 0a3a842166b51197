"""The files of a finished video: the video with its recipe, a thumbnail, a sprite sheet; and previews before that."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from refilm.control.records import FileRecord, SubjectRecord
from refilm.files import atomic_file, atomic_folder
from refilm.generation.recipe import VideoRecipe, save_with_recipe
from refilm.media import Video
from refilm.media.writing import write_webp

THUMBNAIL, SPRITES = "thumbnail.webp", "spritesheet.jpg"
SIDE = 320  # pixels of a thumbnail's longer side
SPRITE, COLUMNS, MOST_SPRITES = 160, 6, 36
PREVIEW = 128  # pixels of a preview's shorter side, at least


def write_results(
    video: Video, recipe: VideoRecipe, folder: Path, output: str, explained: Mapping[str, Video]
) -> dict[str, int]:
    """Write all files of a video to a new folder, all or none; returns their names and sizes.

    The recipe has no date, no duration and no folder, so the files depend on the request alone.
    """
    with atomic_folder(folder) as new:
        save_with_recipe(video, _portable(recipe), new / output)
        _fitted(Image.fromarray(video.frames[0]), SIDE).save(new / THUMBNAIL, quality=85)
        for name, heat_map in explained.items():
            heat_map.save(new / f"{Path(output).stem}.{name}.mp4")
        step = -(-len(video.frames) // MOST_SPRITES)
        sprites = [np.asarray(_fitted(Image.fromarray(frame), SPRITE)) for frame in video.frames[::step]]
        Video(np.stack(sprites), video.fps).contact_sheet(COLUMNS).save(new / SPRITES, quality=85)
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}


def write_preview(frames: np.ndarray, fps: float, path: Path) -> None:
    """Write frames in the size of latents, (T, h, w, 3) uint8, as an animated image."""
    factor = max(1, -(-PREVIEW // min(frames.shape[1:3])))
    size = frames.shape[2] * factor, frames.shape[1] * factor
    large = [np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC)) for frame in frames]
    path.parent.mkdir(exist_ok=True)
    with atomic_file(path) as temporary:
        write_webp(temporary, np.stack(large), fps, 1)


def _fitted(image: Image.Image, side: int) -> Image.Image:
    """An image with a longer side of that length."""
    factor = side / max(image.size)
    width, height = (max(1, round(length * factor)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _portable(recipe: VideoRecipe) -> VideoRecipe:
    """The recipe without what differs from server to server: date, duration, and the folder of the files."""
    made = recipe.made.model_copy(update={"date": None, "seconds": None})
    subjects = {name: tuple(map(_without_folders, getattr(recipe, name))) for name in ("subjects", "negative_subjects")}
    return recipe.model_copy(update={"made": made, **subjects})


def _without_folders(subject: SubjectRecord) -> SubjectRecord:
    def named(record: FileRecord | None) -> FileRecord | None:
        if record is None or record.path is None:
            return record
        return record.model_copy(update={"path": Path(record.path).name})

    files = {name: tuple(map(named, getattr(subject, name))) for name in ("images", "image_masks")}
    return subject.model_copy(update={**files, "file": named(subject.file), "mask": named(subject.mask)})
