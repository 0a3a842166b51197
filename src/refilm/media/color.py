"""Convert other color spaces to sRGB: HDR, wide gamuts, linear and logarithmic light, as declared by files.

Transfer functions and primaries are the code points of ITU-T H.273, which videos and PNG (cICP) use. HDR is
tone-mapped: the reference white of ITU-R BT.2408, 203 cd/m2, is SDR white, except for a shoulder that compresses
highlights of up to 1000 cd/m2. Works on arrays, not on files.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

Transfer = Literal["SDR", "gamma", "linear", "log", "log sqrt", "DCI", "PQ", "HLG"]
Primaries = tuple[float, float, float, float, float, float, float, float]
"""Chromaticities x and y of red, green, blue and white."""

D65, C = (0.3127, 0.3290), (0.310, 0.316)
BT709: Primaries = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, *D65)
BT2020: Primaries = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *D65)
ADOBE: Primaries = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, *D65)
SMPTE170M: Primaries = (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *D65)
PRIMARIES: dict[int, tuple[str, Primaries]] = {  # H.273, table 2; other codes are BT.709 or unspecified
    4: ("BT.470 M", (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, *C)),
    5: ("BT.470 BG", (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *D65)),
    6: ("SMPTE 170M", SMPTE170M),
    7: ("SMPTE 240M", SMPTE170M),
    8: ("film", (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, *C)),
    9: ("BT.2020", BT2020),
    10: ("XYZ", (1, 0, 0, 1, 0, 0, 1 / 3, 1 / 3)),
    11: ("DCI-P3", (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351)),
    12: ("Display P3", (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *D65)),
    22: ("EBU 3213", (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *D65)),
}
# H.273, table 3. All others are displayed as SDR, independent of the camera's curve, as players do.
TRANSFERS: dict[int, Transfer] = {8: "linear", 9: "log", 10: "log sqrt", 16: "PQ", 17: "DCI", 18: "HLG"}

WHITE, PEAK = 203.0, 1000.0  # cd/m2; BT.2408, section 2
BRIGHTEST = 90.0  # multiple of SDR white; more than PQ's 10000 cd/m2 in any BT.709 channel
SHOULDER = 0.8  # fraction of SDR white above which highlights are compressed
LUMINANCE = np.array([0.2627, 0.6780, 0.0593], dtype=np.float32)  # of BT.2020
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
ROWS = 128  # rows converted at once; floats need twelve times the memory of the image


@dataclass(frozen=True)
class Colors:
    """The color space of an image that is not sRGB or BT.709."""

    name: str
    """Name for messages."""
    transfer: Transfer
    primaries: Primaries
    gamma: float = 1.0
    """Exponent from signal to light, for the transfer function "gamma"."""

    @property
    def hdr(self) -> bool:
        """Whether it can be brighter than SDR white."""
        return self.transfer in ("PQ", "HLG")


def declared_colors(transfer: int, primaries: int) -> Colors | None:
    """The color space of two H.273 code points. None: SDR video, or unspecified."""
    curve = TRANSFERS.get(transfer, "SDR")
    if curve == "SDR" and primaries not in PRIMARIES:
        return None
    name, chromaticities = PRIMARIES.get(primaries, ("BT.709", BT709))
    return Colors(name if curve == "SDR" else f"{curve}, {name}", curve, chromaticities)


def to_srgb(pixels: np.ndarray, colors: Colors) -> np.ndarray:
    """Convert (H, W, 3) uint8 or uint16, full range, to uint8 in sRGB. Colors outside sRGB are clipped."""
    light, code = _light(colors.transfer, colors.gamma), _code()
    matrix = _to_bt709(colors.primaries).T.astype(np.float32)
    shown = np.empty(pixels.shape, dtype=np.uint8)
    for top in range(0, len(pixels), ROWS):
        part = pixels[top : top + ROWS]
        linear = light[part.astype(np.uint16) * np.uint16(257) if part.dtype == np.uint8 else part]
        if colors.transfer == "HLG":
            linear *= (PEAK / WHITE) * ((linear @ LUMINANCE) ** np.float32(0.2))[..., None]  # BT.2100, the OOTF
        linear = np.maximum(linear @ matrix, 0)
        if colors.hdr:
            brightest = np.maximum(np.maximum(linear[..., 0], linear[..., 1]), linear[..., 2])
            steps = np.minimum(brightest * (65535 / BRIGHTEST), 65535).astype(np.uint16)
            linear *= _factor()[steps][..., None]  # the same factor for all channels preserves the hue
        shown[top : top + ROWS] = code[(np.minimum(linear, 1) * 65535 + 0.5).astype(np.uint16)]
    return shown


def tone_mapped(light: np.ndarray) -> np.ndarray:
    """Map light (1 is the reference white) to 0..1: linear up to the shoulder, then an extended Reinhard curve.

    Reinhard et al., "Photographic Tone Reproduction for Digital Images", equation 4; the slope is continuous.
    """
    room = 1 - SHOULDER
    over, most = (np.maximum(light - SHOULDER, 0)) / room, (PEAK / WHITE - SHOULDER) / room
    return np.minimum(light, SHOULDER) + room * np.minimum(over * (1 + over / most**2) / (1 + over), 1)


@lru_cache(8)
def _light(transfer: Transfer, gamma: float) -> np.ndarray:
    """Light for each of 65536 signal values; 1 is SDR white. For HLG it is scene light, at most 1."""
    signal = np.arange(65536) / 65535
    if transfer == "PQ":  # SMPTE ST 2084
        power = signal ** (1 / 78.84375)
        nits = 10000 * (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
        light = nits / WHITE
    elif transfer == "HLG":  # BT.2100, table 5
        high = (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12
        light = np.where(signal <= 0.5, signal**2 / 3, high)
    elif transfer in ("log", "log sqrt"):
        light = np.where(signal > 0, 10 ** ((2 if transfer == "log" else 2.5) * (signal - 1)), 0)
    elif transfer == "DCI":  # SMPTE ST 428-1
        light = signal**2.6 * 52.37 / 48
    elif transfer == "SDR":
        light = np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)
    else:
        light = signal**gamma
    return light.astype(np.float32)


@lru_cache(1)
def _factor() -> np.ndarray:
    """The factor by which the tone curve dims each of 65536 levels of light, up to `BRIGHTEST`."""
    light = np.maximum(np.arange(65536) * (BRIGHTEST / 65535), 1e-6)
    return (tone_mapped(light) / light).astype(np.float32)


@lru_cache(1)
def _code() -> np.ndarray:
    """IEC 61966-2-1: the sRGB value, 0..255, for each of 65536 levels of light."""
    light = np.arange(65536) / 65535
    signal = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return (255 * signal).round().astype(np.uint8)


@lru_cache(32)
def _to_bt709(primaries: Primaries) -> np.ndarray:
    """Matrix (3, 3) from linear light with these primaries to BT.709, with Bradford white point adaptation."""
    return np.linalg.inv(_to_xyz(BT709)) @ _adapted(primaries[6:], BT709[6:]) @ _to_xyz(primaries)


def _to_xyz(primaries: Primaries) -> np.ndarray:
    x, y = np.array(primaries[0:6:2]), np.array(primaries[1:6:2])
    directions = np.stack([x, y, 1 - x - y])
    return directions * np.linalg.solve(directions, _xyz(primaries[6:]))


def _adapted(source: tuple[float, ...], target: tuple[float, ...]) -> np.ndarray:
    cones = (BRADFORD @ _xyz(target)) / (BRADFORD @ _xyz(source))
    return np.linalg.inv(BRADFORD) @ (cones[:, None] * BRADFORD)


def _xyz(white: tuple[float, ...]) -> np.ndarray:
    x, y = white
    return np.array([x / y, 1, (1 - x - y) / y])
