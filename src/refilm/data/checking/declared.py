"""Findings from file metadata that affects how the file is read, or that cannot be applied. Opens no files."""

from pathlib import Path

import numpy as np

from refilm.data.checking.findings import Finding, Kind
from refilm.media.inspecting import ImageFacts, VideoPart

OBLONG = 0.05  # deviation of the pixel aspect ratio from 1; less is invisible
TRANSPARENT = "has transparent parts, which are read on white; put them on another background if you want one"
FAINTEST = 128  # brightest pixel of a mask; label images with values such as 1 or 38 are nearly black


def declared_by_video(path: Path, part: VideoPart) -> list[Finding]:
    """Findings about how a video is read."""
    findings: list[Finding] = []

    def report(kind: Kind, message: str) -> None:
        findings.append(Finding(kind=kind, message=f"{path}: {message}"))

    sides, colors = part.sides, part.colors
    if sides.turned:
        report("turned", f"is stored rotated or mirrored; it is read upright, {part.width} x {part.height} pixels")
    if part.interlaced:
        report("interlaced", "is interlaced; it is deinterlaced with bwdif, which is softer than progressive video")
    if part.contested:
        message = "is marked as interlaced, but its frames are marked as progressive and are read as such"
        report("interlaced", f"{message}; if the page shows comb artifacts, deinterlace it yourself")
    if colors is not None and colors.hdr:
        message = (
            "it is tone-mapped to SDR with compressed highlights; if they matter, convert it to SDR (BT.709) yourself"
        )
        report("color", f"is HDR ({colors.name}); {message}")
    elif sides.dolby_vision:
        report(
            "color", "is Dolby Vision profile 5, which only Dolby players show correctly; convert it to SDR (BT.709)"
        )
    elif colors is not None and colors.transfer != "SDR":
        report(
            "color",
            f"uses the transfer function {colors.name}, which is converted to sRGB; check its colors on the page",
        )
    if sides.profile:
        message = f"contains a color profile ({sides.profile}), which is not applied"
        report("color", f"{message}; convert it to BT.709 if its colors are wrong on the page")
    if part.transparent:
        report("transparent", TRANSPARENT)
    if sides.stereo:
        report("spatial", f"is stereoscopic ({sides.stereo}) and read as one image; crop it to one view")
    if sides.spherical:
        report("spatial", "is a 360-degree video, which is read in its distorted stored form; render a flat view of it")
    if part.streams > 1:
        report("streams", f"has {part.streams} video streams, of which only one is read; keep the intended one")
    if part.cropped:
        report("size", "declares a crop of its frames, which is not applied; crop the frames themselves")
    if part.pixel_aspect != part.shown_aspect:
        message = f"declares an implausible pixel aspect ratio of {part.pixel_aspect:.4g}, which is ignored"
        report("size", f"{message}; convert it to square pixels")
    return findings


def declared_by_image(path: Path, facts: ImageFacts, *, mask: bool) -> list[Finding]:
    """Findings about how a reference or a mask is read."""
    findings: list[Finding] = []
    if facts.animated:
        message = f"{path}: contains more than one image (an animation, pages, a preview); only the first is used"
        findings.append(Finding(kind="animated", message=message))
    if abs(facts.pixel_aspect - 1) > OBLONG and not mask:
        message = f"{path}: declares a pixel aspect ratio of {facts.pixel_aspect:.4g}, but is read with square pixels"
        findings.append(Finding(kind="size", message=f"{message}; scale it to its true shape"))
    if facts.shown.doubt and not mask:
        message = f"{path}: {facts.shown.doubt}; save it in sRGB if its colors are wrong on the page"
        findings.append(Finding(kind="color", message=message))
    if mask and (brightest := np.asarray(facts.shown.image.convert("L")).max()) < FAINTEST:
        message = f"{path}: the mask is nearly black (at most {brightest} of 255); make it white where the subject is"
        findings.append(Finding(kind="mask", message=message))
    return findings
