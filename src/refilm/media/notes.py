"""Notes in files of videos: a text that says how a video was made, in the metadata of each format.

MP4 and WebM have it under a key of their own, GIF as its comment, WebP as its XMP, PNG as a text chunk.
Programs that convert a video may drop it. Does not know what the text says.
"""

from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from refilm.errors import UserError
from refilm.media.containers import kind_of
from refilm.media.images import FORMATS
from refilm.media.opening import reading

KEY = "refilm"
LONGEST = 1 << 20  # bytes of a note


def container_note(note: str | None) -> dict[str, str]:
    """The metadata of an MP4 or WebM file."""
    return {} if note is None else {KEY: note}


def image_note(suffix: str, note: str | None) -> dict[str, object]:
    """Arguments of Pillow's `save` that store a note."""
    if note is None:
        return {}
    if suffix == ".gif":
        return {"comment": note.encode()}
    if suffix == ".webp":
        return {"xmp": note.encode()}
    chunks = PngInfo()
    chunks.add_itxt(KEY, note, zip=True)
    return {"pnginfo": chunks}


def read_note(path: Path) -> str | None:
    """The note in a file of a video or an image; None if it has none.

    Raises:
        UserError: the file is missing or is neither, or the note is longer than 1 MiB.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; use the path of a video")
    with path.open("rb") as file:
        kind = kind_of(file.read(12))
    note = _of_image(path) if kind in (None, "gif") else _of_container(path)
    if note is not None and len(note) > LONGEST:
        raise UserError(f"{path}: its note is longer than {LONGEST:,} bytes, so it is not from refilm")
    return note


def _of_container(path: Path) -> str | None:
    with reading(path) as video:
        found = {name.lower(): value for name, value in video.container.metadata.items()}
    return found.get(KEY)


def _of_image(path: Path) -> str | None:
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.format == "GIF":
                comment = image.info.get("comment", b"")
                return comment.decode(errors="replace") or None
            if image.format == "WEBP":
                return image.info["xmp"].decode(errors="replace") if "xmp" in image.info else None
            text = getattr(image, "text", {}).get(KEY)
            return None if text is None else str(text)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path}: neither a video nor an image that can be read: {error}") from error
