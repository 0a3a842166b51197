"""Masks that are drawn: which part of an image is the subject, and where in the video a subject may appear."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from refilm.errors import UserError
from refilm.media import open_image
from refilm.media.colors import WHITE
from refilm.media.images import opened, shown_image
from refilm.serving.page.subjects import Member

Masks = Mapping[str, tuple[str, bytes]]
"""File ending and content of each mask: `image_key` or `video_key`."""
GRAY = 128


def image_key(member: str, image: int) -> str:
    """The key of the mask on an image of a subject."""
    return f"{member}/{image}"


def video_key(member: str) -> str:
    """The key of the mask that says where a subject may appear."""
    return f"{member}/video"


def targets(members: Sequence[Member]) -> list[tuple[str, str]]:
    """What a mask can be drawn on, for a dropdown."""
    found = []
    for member in members:
        images = member.values.get("images", ())
        for number in range(len(images)):
            of = f"image {number + 1} of {member.name}" if len(images) > 1 else f"the image of {member.name}"
            found.append((f"On {of}: which part is the subject", image_key(member.key, number)))
        found.append((f"On the video: where {member.name} may appear", video_key(member.key)))
    return found


def background(key: str, members: Sequence[Member], frame: Image.Image) -> Image.Image:
    """The image to draw on: the subject's, or a frame of the video."""
    member, _, place = key.rpartition("/")
    if place == "video":
        return frame
    (found,) = (one for one in members if one.key == member)
    return _image(found.files[found.values["images"][int(place)]])


def blank(width: int, height: int) -> Image.Image:
    """An empty frame of a video, large enough to draw on."""
    factor = max(1, round(512 / max(width, height)))
    return Image.new("RGB", (width * factor, height * factor), (GRAY, GRAY, GRAY))


def drawn(value: Mapping[str, Any] | None) -> bytes:
    """The mask that was drawn in an editor, as PNG.

    Raises:
        UserError: nothing was drawn.
    """
    layers = [np.asarray(layer)[..., 3] for layer in (value or {}).get("layers", ()) if layer is not None]
    if not value or value.get("background") is None or not any(layer.any() for layer in layers):
        raise UserError("nothing is drawn yet; paint over the subject with the brush, or enter a rectangle")
    height, width = np.asarray(value["background"]).shape[:2]
    mask = np.maximum.reduce([np.asarray(Image.fromarray(layer).resize((width, height))) for layer in layers])
    return _png(mask > 0)


def rectangle(size: tuple[int, int], sides: Sequence[float | None]) -> bytes:
    """The mask of a rectangle, as PNG.

    Args:
        size: width and height of the image.
        sides: left, top, right and bottom in percent of the image.

    Raises:
        UserError: the rectangle is empty, or beyond the image.
    """
    left, top, right, bottom = (100.0 if side is None else float(side) for side in sides)
    if not (0 <= left < right <= 100 and 0 <= top < bottom <= 100):
        raise UserError("the rectangle is empty; left must be less than right, top less than bottom, all 0 to 100")
    width, height = size
    mask = np.zeros((height, width), bool)
    rows = slice(int(top * height / 100), max(int(bottom * height / 100), int(top * height / 100) + 1))
    columns = slice(int(left * width / 100), max(int(right * width / 100), int(left * width / 100) + 1))
    mask[rows, columns] = True
    return _png(mask)


def with_masks(member: Member, masks: Masks) -> Member:
    """A subject with the masks that were drawn for it; its other images are read whole."""
    values, files, images = dict(member.values), dict(member.files), member.values.get("images", ())
    keys = [image_key(member.key, number) for number in range(len(images))]
    if any(key in masks for key in keys):
        values["image_masks"] = []
        for number, (key, image) in enumerate(zip(keys, images, strict=True)):
            suffix, content = masks[key] if key in masks else (".png", _white(files[image]))
            name = f"{_plain(member.key)}-mask-{number}{suffix}"
            values["image_masks"].append(name)
            files[name] = content
    if video_key(member.key) in masks:
        suffix, content = masks[video_key(member.key)]
        values["mask"] = f"{_plain(member.key)}-video-mask{suffix}"
        files[values["mask"]] = content
    return Member(member.key, member.name, values, files)


def _image(content: Path | bytes) -> Image.Image:
    if isinstance(content, Path):
        return open_image(content)
    return shown_image(opened(io.BytesIO(content), Path("image")), "image", WHITE)


def _white(image: Path | bytes) -> bytes:
    width, height = _image(image).size
    return _png(np.ones((height, width), bool))


def _png(mask: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(file, "PNG")
    return file.getvalue()


def _plain(key: str) -> str:
    return key.replace("_", "-")
