"""Declared colors are converted to sRGB and match published values: HDR, wide gamuts, linear light."""

import numpy as np
import pytest

from refilm.media import open_video
from refilm.media.color import BT2020, declared_colors, to_srgb, tone_mapped

from .declaring import gray, tagged, write

PQ, HLG, LINEAR, LOG, DCI = 16, 18, 8, 9, 17


def pq(nits: float) -> float:
    """SMPTE ST 2084, forward: what a camera stores, 0..1."""
    power = (nits / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def srgb(light: float) -> float:
    return 255 * (12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055)


def shown(value: float, transfer: int, primaries: int = 9) -> np.ndarray:
    """The converted value of a uniform image with a signal, 0..1."""
    colors = declared_colors(transfer, primaries)
    assert colors is not None
    return to_srgb(np.full((2, 2, 3), round(65535 * value), np.uint16), colors)[0, 0]


@pytest.mark.parametrize("nits", [0, 0.5, 5, 36.5, 100, 160])
def test_pq_below_the_shoulder_is_light_over_203_nits(nits):
    assert shown(pq(nits), PQ) == pytest.approx([srgb(nits / 203)] * 3, abs=0.6)


def test_pq_highlights_are_compressed_in_order_and_white_stays_bright():
    steps = [int(shown(pq(nits), PQ)[0]) for nits in (162, 203, 300, 500, 1000, 4000, 10000)]
    assert steps == sorted(steps)
    assert steps[1] == pytest.approx(srgb(0.9), abs=1.5)  # BT.2408's white
    assert steps[-3:] == [255, 255, 255]


def test_the_tone_curve_is_smooth_where_it_begins():
    light = np.linspace(0, 6, 6001)
    curve = tone_mapped(light)
    assert np.array_equal(curve[:800], light[:800])
    slopes = np.diff(curve) / 0.001
    assert np.all(slopes >= -1e-9)
    assert np.abs(np.diff(slopes[:4000])).max() < 0.02  # no knee
    assert curve[-1] == 1


def test_hlg_is_shown_as_bt2100_says_for_1000_nits():
    for signal, nits in ((0.75, 203), (0.5, 50.7), (0.38, 26.3 * 0.995), (0.25, 9.6)):  # BT.2408 gives 203 and 26
        light = nits / 203
        expected = srgb(float(tone_mapped(np.array(light))))
        assert shown(signal, HLG) == pytest.approx([expected] * 3, abs=2.5)


@pytest.mark.parametrize(
    ("transfer", "signal", "light"),
    [(LINEAR, 0.18, 0.18), (LOG, 0.5, 0.1), (LOG, 0, 0), (10, 0.6, 0.1), (DCI, 0.5, 0.5**2.6 * 52.37 / 48)],
)
def test_other_transfers(transfer, signal, light):
    assert shown(signal, transfer, primaries=1) == pytest.approx([srgb(light)] * 3, abs=0.6)


def test_primaries_are_converted_in_linear_light():
    """Known pairs: pure BT.709 colors as BT.2020 (BT.2087) and as Display P3."""
    for primaries, stored, meant in [
        (9, [0.6274, 0.0691, 0.0164], [255, 0, 0]),
        (9, [0.3293, 0.9195, 0.0880], [0, 255, 0]),
        (12, [0.8225, 0.0332, 0.0171], [255, 0, 0]),
    ]:
        signal = np.array([srgb(light) / 255 for light in stored])
        colors = declared_colors(1, primaries)
        assert colors is not None
        pixels = to_srgb((65535 * signal).round().astype(np.uint16)[None, None], colors)
        assert np.abs(pixels[0, 0].astype(int) - meant).max() <= 3


@pytest.mark.parametrize("primaries", [4, 5, 6, 7, 8, 9, 10, 11, 12, 22])
def test_white_is_white_in_all_primaries(primaries):
    colors = declared_colors(8, primaries)
    assert colors is not None
    y = {10: (1, 1, 1)}.get(primaries, (1, 1, 1))
    assert to_srgb(np.full((1, 1, 3), 65535, np.uint16), colors)[0, 0] == pytest.approx(255 * np.array(y), abs=1)


def test_what_is_sdr_video_is_left_alone():
    for transfer in (0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 14, 15, 99):
        for primaries in (0, 1, 2, 3, 99):
            assert declared_colors(transfer, primaries) is None
    colors = declared_colors(PQ, 9)
    assert colors is not None
    assert (colors.name, colors.hdr, colors.primaries) == ("PQ, BT.2020", True, BT2020)
    wide = declared_colors(1, 12)
    assert wide is not None
    assert (wide.name, wide.hdr) == ("Display P3", False)


def test_strips_are_as_the_whole():
    pixels = np.random.default_rng(0).integers(0, 65536, (300, 5, 3)).astype(np.uint16)
    colors = declared_colors(PQ, 9)
    assert colors is not None
    rows = np.concatenate([to_srgb(row[None], colors) for row in pixels])
    assert np.array_equal(to_srgb(pixels, colors), rows)


@pytest.mark.parametrize("kind", ["pq", "hlg"])
def test_hdr_videos_are_read_as_sdr(tmp_path, kind):
    """White at 203 nits (75 % of HLG) and, in PQ, middle gray at 18 % of it."""
    transfer, white = (PQ, pq(203)) if kind == "pq" else (HLG, 0.75)
    frames = [
        gray(round(64 + 876 * level), bits=10, transfer=transfer, primaries=9, matrix=9, range=1)
        for level in (white, pq(0.18 * 203))
    ]
    path = write(tmp_path / "hdr.mkv", frames)
    first, second = open_video(path).frames[:, 20, 30].astype(int)
    assert np.abs(first - srgb(0.9)).max() <= 3
    if kind == "pq":
        assert np.abs(second - srgb(0.18)).max() <= 2


@pytest.mark.parametrize(("range", "black", "white"), [(1, 16, 235), (2, 0, 255)])
@pytest.mark.parametrize("format", ["yuv420p", "gray", "yuv444p"])
def test_ranges_are_obeyed(tmp_path, range, black, white, format):
    heights = {"yuv420p": 72, "gray": 48, "yuv444p": 48}
    frames = []
    for luma in (black, white):
        if format == "yuv444p":
            planes = np.stack([np.full((48, 64), luma, np.uint8), *np.full((2, 48, 64), 128, np.uint8)])
        else:
            planes = np.full((heights[format], 64), luma, np.uint8)
            planes[48:] = 128
        frames.append(tagged(planes, format, range=range))
    path = write(tmp_path / "ranges.mkv", frames)
    assert open_video(path).frames[:, 20, 30].tolist() == [[0, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize(("matrix", "red"), [(1, (63, 102, 240)), (5, (81, 90, 240)), (6, (81, 90, 240))])
def test_matrices_are_obeyed(tmp_path, matrix, red):
    planes = np.stack([np.full((48, 64), value, np.uint8) for value in red])
    path = write(tmp_path / "red.mkv", [tagged(planes, "yuv444p", matrix=matrix, range=1)])
    assert np.abs(open_video(path).frames[0, 20, 30].astype(int) - (255, 0, 0)).max() <= 2


def test_a_matrix_that_cannot_be_converted_is_refused(tmp_path):
    planes = np.full((3, 48, 64), 128, np.uint8)
    path = write(tmp_path / "ycgco.mkv", [tagged(planes, "yuv444p", matrix=8, range=1)])
    with pytest.raises(ValueError, match=r"ycgco\.mkv: its color matrix \(code 8 of ITU-T H\.273\) is not supported"):
        open_video(path)


@pytest.mark.parametrize("height", [48, 720])
def test_videos_without_tags_are_bt709_if_hd(tmp_path, height):
    red = (63, 102, 240) if height == 720 else (81, 90, 240)
    for matrix in (2, 3):
        planes = np.stack([np.full((height, 64), value, np.uint8) for value in red])
        path = write(tmp_path / "red.mkv", [tagged(planes, "yuv444p", matrix=matrix)])
        assert np.abs(open_video(path).frames[0, 20, 30].astype(int) - (255, 0, 0)).max() <= 2
