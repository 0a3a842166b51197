"""Inspect one file in a worker process: its properties and its problems. Does not import torch."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from refilm.data.checking.declared import TRANSPARENT, declared_by_image, declared_by_video
from refilm.data.checking.findings import FileRecord, Finding
from refilm.data.checking.hashes import ImageHash, image_hashes, similar
from refilm.data.settings import CheckSettings
from refilm.errors import UserError
from refilm.files import sha256_of
from refilm.media.colors import BLACK, WHITE
from refilm.media.containers import CutShortError
from refilm.media.inspecting import ImageFacts, VideoPart, inspect_image, inspect_video, packets_left_out, tiny_image
from refilm.media.sampling import nearest

THUMBNAIL = 160, 120  # pixels, at most
SMALL = 64  # pixels of a reference's shorter side; image encoders read 224
LOST = 0.3  # fraction of a frame that may be cropped without a warning
STEADY = 0.5, 1.5  # allowed distance of two frames, as multiples of the median
LATE = 0.5  # how much earlier than declared a video may end, in seconds or as a fraction


@dataclass(frozen=True)
class ClipPart:
    """The part of a video to inspect, and the hashes of its references."""

    start: float | None
    end: float | None
    references: tuple[ImageHash | None, ...]


@dataclass(frozen=True)
class VideoToInspect:
    """A video and the clips that are cut from it."""

    path: Path
    clips: tuple[ClipPart, ...]
    settings: CheckSettings
    mask: bool
    """Whether the file is a clip's mask, which only has to be readable."""
    still: bool = False
    """Whether the file is an image, which is a clip of one frame."""


@dataclass(frozen=True)
class ImageToInspect:
    """An image: a reference, or a mask."""

    path: Path
    mask: bool


@dataclass(frozen=True)
class Inspected:
    """The result of inspecting an image or a clip."""

    facts: str = ""
    findings: tuple[Finding, ...] = ()
    image_hashes: tuple[ImageHash, ...] = ()
    """Hashes of the image, or of three frames of the clip; empty if it cannot be read."""
    frames: int = 0
    """Number of frames of the clip at the required frame rate."""
    thumbnail: bytes = b""
    """JPEG."""


@dataclass(frozen=True)
class InspectedFile:
    """The result of inspecting a file."""

    record: FileRecord | None
    """None if the file cannot be opened."""
    parts: tuple[Inspected, ...]


def inspect_file(file: VideoToInspect | ImageToInspect) -> InspectedFile:
    """Inspect a file."""
    try:
        state = file.path.stat()
        digest = sha256_of(file.path)
    except OSError as error:
        finding = Finding(
            kind="unreadable", message=f"{file.path}: cannot be read ({error.strerror}); fix its permissions"
        )
        return InspectedFile(
            None, (Inspected(findings=(finding,)),) * (len(file.clips) if isinstance(file, VideoToInspect) else 1)
        )
    if isinstance(file, ImageToInspect):
        parts = (_image(file),)
    else:
        parts = tuple((_still if file.still else _clip)(file, clip) for clip in file.clips)
    facts = parts[0].facts if len(parts) == 1 else f"{len(parts)} clips"
    return InspectedFile(FileRecord(sha256=digest, size=state.st_size, mtime_ns=state.st_mtime_ns, facts=facts), parts)


def _image(file: ImageToInspect) -> Inspected:
    try:
        facts = inspect_image(file.path, BLACK if file.mask else WHITE)
    except UserError as error:
        return Inspected(findings=(Finding(kind="unreadable", message=str(error)),))
    image = facts.shown.image
    findings = [*declared_by_image(file.path, facts, mask=file.mask)]
    if min(image.size) < SMALL and not file.mask:
        message = f"{file.path}: has only {image.width} x {image.height} pixels; use a larger image of the subject"
        findings.append(Finding(kind="size", message=message))
    hashes = tuple(image_hashes(tiny_image(image)[None]))
    return Inspected(_image_facts(facts), tuple(findings), hashes, 1, _thumbnail(image))


def _image_facts(facts: ImageFacts) -> str:
    image = facts.shown.image
    size, colors = f"{image.width} x {image.height}", facts.shown.colors
    words = [f"{facts.format} {facts.mode}", size, colors, "transparent" if facts.shown.transparent else ""]
    return ", ".join(filter(None, [*words, "rotated by EXIF" if facts.turned else ""]))


def _still(file: VideoToInspect, clip: ClipPart) -> Inspected:
    """An image as a clip of one frame: no rule about length, rate or motion applies to it."""
    try:
        facts = inspect_image(file.path, WHITE)
    except UserError as error:
        return Inspected(findings=(Finding(kind="unreadable", message=str(error)),))
    image = facts.shown.image
    findings = [*declared_by_image(file.path, facts, mask=False)]
    findings += _size(file, image.height, image.width)
    if facts.shown.transparent:
        message = f"{file.path}: {TRANSPARENT}"
        findings.append(Finding(kind="transparent", message=message))
    (own,) = image_hashes(tiny_image(image)[None])
    for number, reference in enumerate(clip.references, start=1):
        if reference is not None and similar(own, reference):
            message = (
                f"{file.path}: reference {number} is the image itself, so the model would learn to copy; use another "
                "image of the subject, or augment it with --views when encoding"
            )
            findings.append(Finding(kind="copy", message=message))
    hashes = (own,) * 3  # as many as a video has
    return Inspected(f"still, {_image_facts(facts)}", tuple(findings), hashes, 1, _thumbnail(image))


def _clip(file: VideoToInspect, clip: ClipPart) -> Inspected:
    try:
        part = inspect_video(file.path, start=clip.start, end=clip.end)
        findings = [*_damage(file.path, part, clip)]
    except CutShortError as error:
        return Inspected(findings=(Finding(kind="truncated", message=str(error)),))
    except UserError as error:
        return Inspected(findings=(Finding(kind="unreadable", message=str(error)),))
    frames = _frames(part, clip, file.settings.fps)
    if not file.mask:
        findings += [*_length(file, clip, frames), *_rate(file, part)]
        findings += [*_odd(file, part), *_size(file, part.height, part.width)]
        findings += declared_by_video(file.path, part)
        findings += _copies(file, part, clip)
    bits = f"{part.bits} bit" if part.bits != 8 else ""
    colors = part.colors.name if part.colors else ""
    words = [
        part.codec,
        bits,
        colors,
        f"{part.width} x {part.height}",
        f"{part.rate:.4g} fps",
        f"{len(part.times)} frames",
    ]
    moments = part.tiny[[len(part.tiny) * step // 6 for step in (1, 3, 5)]]
    thumbnail = _thumbnail(Image.fromarray(part.middle))
    return Inspected(", ".join(filter(None, words)), tuple(findings), tuple(image_hashes(moments)), frames, thumbnail)


def _damage(path: Path, part: VideoPart, clip: ClipPart) -> list[Finding]:
    """Findings about damaged and missing frames."""
    frames = len(part.times)
    findings = []
    if part.corrupt:
        message = f"{path}: {part.corrupt} of {frames} frames are damaged; copy, download or export it again"
        findings.append(Finding(kind="damaged", message=message))
    if clip.start is None and clip.end is None:
        findings += _missing_frames(path, part)
    elif clip.end is not None and part.times[-1] + 1.5 / part.rate < clip.end:
        message = (
            f"{path}: ends {part.times[-1] + 1 / part.rate:.2f} s after its start, before {clip.end:g} s; fix `end`"
        )
        findings.append(Finding(kind="truncated", message=message))
    return findings


def _missing_frames(path: Path, part: VideoPart) -> list[Finding]:
    frames = len(part.times)
    if part.declared is not None:
        if frames >= part.declared or frames >= part.declared - packets_left_out(path):
            return []
        message = f"{path}: contains only {frames} of the {part.declared} frames that it declares"
    else:
        seconds = part.times[-1] + 1 / part.rate
        if part.duration is None or seconds + max(LATE, LATE * part.duration / 5) >= part.duration:
            return []
        message = f"{path}: ends after {seconds:.2f} of the {part.duration:.2f} s that it declares"
    return [Finding(kind="truncated", message=f"{message}; copy, download or export it again")]


def _frames(part: VideoPart, clip: ClipPart, fps: float) -> int:
    """Number of frames that encoding will read at this rate."""
    timed = ((time, None) for time in part.times)
    end = float("inf") if clip.end is None else clip.end
    chosen = nearest(timed, fps=fps, start=clip.start or 0.0, end=end, half=0.5 / part.rate)
    return sum(repeats for _, repeats in chosen)


def _length(file: VideoToInspect, clip: ClipPart, frames: int) -> list[Finding]:
    wanted = file.settings.frames
    if frames >= wanted:
        return []
    part = "" if clip.start is clip.end is None else ", from start to end,"
    message = (
        f"{file.path}: has{part} {frames} frames at {file.settings.fps:g} fps, but {wanted} are required; "
        "use a longer clip, or check for fewer frames"
    )
    return [Finding(kind="short", message=message)]


def _rate(file: VideoToInspect, part: VideoPart) -> list[Finding]:
    findings, wanted = [], file.settings.fps
    gaps = np.diff(part.times)
    if len(gaps) and (gaps.min() < STEADY[0] * np.median(gaps) or gaps.max() > STEADY[1] * np.median(gaps)):
        message = (
            f"{file.path}: has a variable frame rate ({gaps.min():.3f} to {gaps.max():.3f} s between frames); "
            "convert it to a constant rate"
        )
        findings.append(Finding(kind="variable rate", message=message))
    if part.rate < 0.99 * wanted:  # for faster clips, the frames nearest in time are used
        message = f"{file.path}: has {part.rate:.4g} fps, fewer than {wanted:g}, so frames are repeated"
        findings.append(Finding(kind="rate", message=message))
    return findings


def _odd(file: VideoToInspect, part: VideoPart) -> list[Finding]:
    if part.height % 2 == part.width % 2 == 0:
        return []
    place = f"{file.path}: {part.width} x {part.height} pixels"
    return [Finding(kind="size", message=f"{place}, an odd number; crop a row or column")]


def _size(file: VideoToInspect, height: int, width: int) -> list[Finding]:
    wanted = file.settings
    place, kind = f"{file.path}: {width} x {height} pixels", "size"
    scale = max(wanted.height / height, wanted.width / width)
    lost = 1 - wanted.height * wanted.width / (scale**2 * height * width)
    findings = []
    if scale > 1:
        findings.append(
            Finding(
                kind=kind,
                message=f"{place} is smaller than {wanted.width} x {wanted.height} and will be upscaled (blurry)",
            )
        )
    if lost > LOST:
        message = f"{place} becomes {wanted.width} x {wanted.height}, and {100 * lost:.0f} % of the image is cropped"
        findings.append(Finding(kind=kind, message=f"{message}; crop it to about that aspect ratio"))
    return findings


def _copies(file: VideoToInspect, part: VideoPart, clip: ClipPart) -> list[Finding]:
    """References that are frames of the clip's training part: the model would learn to copy them."""
    until = (clip.start or 0.0) + file.settings.frames / file.settings.fps
    findings, frames = [], image_hashes(part.tiny[: sum(time < until for time in part.times)])
    for number, reference in enumerate(clip.references, start=1):
        place = next((i for i, frame in enumerate(frames) if reference and similar(frame, reference)), None)
        if place is not None:
            message = (
                f"{file.path}: reference {number} is frame {place} of its own clip, so the model would learn to copy; "
                "use an image from another clip of the subject, or from outside the training part"
            )
            findings.append(Finding(kind="copy", message=message))
    return findings


def _thumbnail(image: Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail(THUMBNAIL)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=70)
    return buffer.getvalue()
