"""critters as files, in the layout that users have: MP4s, captions, reference pictures, and a manifest.

Clip `index` of (seed, split) is the same whoever writes it. Knows nothing of drawing.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from PIL import Image

from refilm.data.critters.clips import FPS, SIZE, draw_film, draw_portrait, story
from refilm.data.critters.subjects import Split
from refilm.data.examples import Example, Reference
from refilm.data.manifest import write_manifest
from refilm.media import Video

PORTRAIT_SIZE = 256  # pixels


def write_clips(
    folder: Path | str,
    *,
    clips: int,
    split: Split,
    seed: int,
    size: int = SIZE,
    references: int = 2,
    scale: int | None = None,
) -> Iterator[Path]:
    """Write the first `clips` clips of (seed, split) into an empty or new folder; yields each video when it is there.

    `videos/00001.mp4`, `labels/00001.txt`, `ref_images/00001/1.png`, and when all are written `manifest.jsonl`.

    Args:
        size: height and width of the films as drawn, in pixels.
        references: portraits of each clip's subject.
        scale: whole factor by which the films are enlarged, without smoothing, since H.264 stores colors at half
            size; None is enough for 256 pixels. Scaled back to `size`, they are nearly the drawn pixels.

    Raises:
        ValueError: the folder holds something, or a number or the split is impossible.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder}: is no empty folder; give one that is empty or not there yet")
    if split not in get_args(Split):
        raise ValueError(f"split must be one of {', '.join(get_args(Split))}, received {split!r}")
    for name, number in {"clips": clips, "size": size, "references": references}.items():
        if number < 1:
            raise ValueError(f"{name} must be 1 or more, received {number}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, received {seed}")
    return _write(folder, clips, split, seed, size, references, scale)


def _write(
    folder: Path, clips: int, split: Split, seed: int, size: int, references: int, scale: int | None
) -> Iterator[Path]:
    for part in ("videos", "labels", "ref_images"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    examples: list[Example] = []
    digits = max(5, len(str(clips)))
    for index in range(clips):
        name = f"{index + 1:0{digits}}"
        tale = story(seed, index, split)
        video = folder / "videos" / f"{name}.mp4"
        Video(draw_film(seed, index, split, size=size), FPS).save(video, scale=scale)
        (folder / "labels" / f"{name}.txt").write_text(tale.caption + "\n", encoding="utf-8")
        (folder / "ref_images" / name).mkdir()
        pictures = tuple(folder / "ref_images" / name / f"{number + 1}.png" for number in range(references))
        for number, picture in enumerate(pictures):
            Image.fromarray(draw_portrait(seed, index, split, number=number, size=PORTRAIT_SIZE)).save(picture)
        shown = tuple(Reference(picture) for picture in pictures)
        examples.append(Example(video, tale.caption, shown, subject=tale.subject.looks))
        yield video
    write_manifest(folder / "manifest.jsonl", examples)
