"""Findings about what files say of themselves, where reading obeys it at a cost, or cannot. Opens no file."""

from pathlib import Path

import numpy as np

from refilm.data.checking.findings import Finding, Kind
from refilm.media.inspecting import ImageFacts, VideoPart

OBLONG = 0.05  # of a pixel's shape; less nobody sees
FAINTEST = 128  # of the brightest pixel of a mask: labels of 1 or 38 are read as next to nothing


def declared_by_video(path: Path, part: VideoPart) -> list[Finding]:
    """What the owner of a video should know about how it is read."""
    findings: list[Finding] = []

    def tell(kind: Kind, message: str) -> None:
        findings.append(Finding(kind=kind, message=f"{path}: {message}"))

    sides, colors = part.sides, part.colors
    if sides.turned:
        tell("turned", f"is stored turned or mirrored; it is shown upright, {part.width} x {part.height} pixels")
    if part.interlaced:
        tell("interlaced", "is interlaced; it is read deinterlaced by bwdif, softer than progressive video would be")
    if part.contested:
        message = "says that it is interlaced, but its frames say that they are not, and are believed"
        tell("interlaced", f"{message}; if the page shows combs, deinterlace it yourself")
    if colors is not None and colors.hdr:
        message = "it is read as SDR, with highlights compressed; if they matter, convert it to SDR (BT.709) yourself"
        tell("color", f"is HDR ({colors.name}); {message}")
    elif sides.dolby_vision:
        tell("color", "is Dolby Vision that only its own players show rightly (profile 5); convert it to SDR (BT.709)")
    elif colors is not None and colors.transfer != "SDR":
        tell(
            "color",
            f"its light is stored as {colors.name}; it is converted to sRGB: look whether the page shows it right",
        )
    if sides.profile:
        message = f"has a color profile of its own ({sides.profile}), which is not applied"
        tell("color", f"{message}; convert it to BT.709 if the page shows it wrong")
    if part.transparent:
        tell("transparent", "has transparent parts, which are laid on white; lay them on a background of your own")
    if sides.stereo:
        tell("spatial", f"has views for two eyes, {sides.stereo}, which are read as one image; cut out one of them")
    if sides.spherical:
        tell("spatial", "is a 360-degree video, which is read as it is stored, warped; render a flat view of it")
    if part.streams > 1:
        tell("streams", f"has {part.streams} video streams, of which one is read; keep the one that is meant")
    if part.cropped:
        tell("size", "says that edges of its frames are not to be shown, but they are; cut them off")
    if part.pixel_aspect != part.shown_aspect:
        message = f"says that its pixels are {part.pixel_aspect:.4g} times as wide as high, which is not believed"
        tell("size", f"{message}; convert it to square pixels")
    return findings


def declared_by_image(path: Path, facts: ImageFacts, *, mask: bool) -> list[Finding]:
    """What the owner of a reference or a mask should know about how it is read."""
    findings: list[Finding] = []
    if facts.animated:
        message = f"{path}: has more than one image (an animation, pages, a preview); only the first is used"
        findings.append(Finding(kind="animated", message=message))
    if abs(facts.pixel_aspect - 1) > OBLONG and not mask:
        message = f"{path}: says that its pixels are {facts.pixel_aspect:.4g} times as wide as high, but is read with"
        findings.append(Finding(kind="size", message=f"{message} square ones; scale it to its true shape"))
    if facts.shown.doubt and not mask:
        message = f"{path}: {facts.shown.doubt}; save it in sRGB if it looks wrong on the page"
        findings.append(Finding(kind="color", message=message))
    if mask and (brightest := np.asarray(facts.shown.image.convert("L")).max()) < FAINTEST:
        message = f"{path}: the mask is nearly black, at most {brightest} of 255; it must be white where the subject is"
        findings.append(Finding(kind="mask", message=message))
    return findings
