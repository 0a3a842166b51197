"""Images of every kind are read as they are meant to be displayed."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from refilm.media import as_image, open_image, pad_to_square

COLORS = np.array([[(200, 30, 40), (40, 180, 60)], [(30, 60, 220), (240, 220, 90)]], dtype=np.uint8)
SMALL = Image.fromarray(COLORS.repeat(16, axis=0).repeat(24, axis=1))  # 48 x 32


def corners(image: Image.Image) -> np.ndarray:
    assert image.mode == "RGB"
    w, h = image.size
    return np.asarray(image)[[h // 4, -h // 4]][:, [w // 4, -w // 4]].astype(int)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_formats_are_known_by_content(tmp_path, format):
    SMALL.save(tmp_path / "image.misnamed", format=format)
    image = open_image(tmp_path / "image.misnamed")
    assert image.size == (48, 32)
    assert np.abs(corners(image) - COLORS).max() < 8


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied_once(tmp_path, format):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter, clockwise
    SMALL.save(tmp_path / "image", format=format, exif=exif)
    image = open_image(tmp_path / "image")
    assert image.size == (32, 48)
    assert np.abs(corners(image) - np.rot90(COLORS, -1)).max() < 8
    with Image.open(tmp_path / "image") as opened:
        assert as_image(opened).size == (32, 48)


def test_alpha_lies_on_the_background(tmp_path):
    image = SMALL.convert("RGBA")
    image.putalpha(Image.fromarray(np.linspace(0, 255, 48).round().astype(np.uint8)[None].repeat(32, axis=0)))
    image.save(tmp_path / "alpha.png")
    shown = np.asarray(open_image(tmp_path / "alpha.png", background=(10, 250, 30)), dtype=int)
    alpha = np.linspace(0, 1, 48)[None, :, None]
    assert np.abs(shown - (alpha * np.asarray(SMALL) + (1 - alpha) * (10, 250, 30))).max() <= 2
    assert tuple(np.asarray(open_image(tmp_path / "alpha.png"))[0, 0]) == (255, 255, 255)


def test_palette_with_a_transparent_color(tmp_path):
    image = SMALL.quantize(4)
    image.save(tmp_path / "palette.png", transparency=image.getpixel((0, 0)))
    shown = corners(open_image(tmp_path / "palette.png", background=(1, 2, 3)))
    assert tuple(shown[0, 0]) == (1, 2, 3)
    assert np.array_equal(shown[1], COLORS[1])


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    gray = np.linspace(0, 65535, 256).round().astype(np.uint16)[None].repeat(32, axis=0)
    for name in ("gray.png", "gray.tif"):
        Image.fromarray(gray).save(tmp_path / name)
        assert np.array_equal(np.asarray(open_image(tmp_path / name))[0, :, 1], np.arange(256))


def test_cmyk(tmp_path):
    ink = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    ink.save(tmp_path / "cmyk.jpg", quality=100)
    ink.save(tmp_path / "cmyk.tif")
    for name in ("cmyk.jpg", "cmyk.tif"):
        assert np.abs(np.asarray(open_image(tmp_path / name), dtype=int) - (255, 0, 0)).max() < 4


def test_color_profiles_are_honored_and_broken_ones_ignored(tmp_path):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    SMALL.save(tmp_path / "wrong.png", icc_profile=lab)
    SMALL.save(tmp_path / "broken.png", icc_profile=b"not a profile")
    for name in ("wrong.png", "broken.png"):
        assert np.array_equal(np.asarray(open_image(tmp_path / name)), np.asarray(SMALL))
    swapped = swap_red_and_green(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    SMALL.save(tmp_path / "swapped.png", icc_profile=swapped)
    assert np.abs(corners(open_image(tmp_path / "swapped.png")) - COLORS[..., [1, 0, 2]]).max() < 4
    clear = SMALL.convert("RGBA")
    clear.putpixel((0, 0), (0, 0, 0, 0))
    clear.save(tmp_path / "clear.png", icc_profile=swapped)
    image = open_image(tmp_path / "clear.png")
    assert image.getpixel((0, 0)) == (255, 255, 255)
    assert np.abs(corners(image) - COLORS[..., [1, 0, 2]]).max() < 4


def swap_red_and_green(profile: bytes) -> bytes:
    """The same profile with its first two primaries exchanged, which is easy to see in the colors."""
    swap = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}
    count = int.from_bytes(profile[128:132], "big")
    table = profile[132 : 132 + 12 * count]
    rows = [table[i : i + 12] for i in range(0, len(table), 12)]
    return profile[:132] + b"".join(swap.get(row[:4], row[:4]) + row[4:] for row in rows) + profile[132 + len(table) :]


def test_animated_gif_is_its_first_frame(tmp_path):
    SMALL.save(tmp_path / "video.gif", save_all=True, append_images=[Image.new("RGB", SMALL.size)])
    assert np.array_equal(corners(open_image(tmp_path / "video.gif")), COLORS)


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8200, 10_000, 14_000, 100_000])  # over our cap; over Pillow's two
def test_too_large_is_refused_before_it_is_decoded(tmp_path, side, recwarn):
    (tmp_path / "bomb.png").write_bytes(png_that_claims(side, side))
    with pytest.raises(ValueError, match=r"bomb\.png: .*64 megapixels; use a smaller image"):
        open_image(tmp_path / "bomb.png")
    assert not recwarn.list


@pytest.mark.parametrize("size", [(30_000, 2_000), (2_000, 30_000), (64_000_000, 1), (11, 1)])
def test_too_slim_is_refused_before_it_is_decoded(tmp_path, size):
    (tmp_path / "strip.png").write_bytes(png_that_claims(*size))
    with pytest.raises(
        ValueError, match=rf"strip\.png: {size[0]} x {size[1]} pixels are too narrow \(aspect ratio at most 10:1"
    ):
        open_image(tmp_path / "strip.png")


def test_too_slim_is_refused_wherever_it_comes_from():
    for value in (Image.new("RGB", (11, 1)), np.zeros((1, 11, 3), np.uint8)):
        with pytest.raises(ValueError, match="image: 11 x 1 pixels are too narrow"):
            as_image(value)
    assert as_image(np.zeros((1, 10, 3), np.uint8)).size == (10, 1)


def test_squares_of_large_images_are_scaled_down():
    square = pad_to_square(Image.new("RGB", (12_000, 1_500), (9, 9, 9)), (1, 2, 3))
    assert square.size == (6_000, 6_000)
    column = np.asarray(square)[:, 3_000]
    assert (column == 9).all(axis=1).sum() == 750
    assert pad_to_square(Image.new("RGB", (8_000, 10))).size == (8_000, 8_000)
    assert pad_to_square(Image.new("RGB", (8_001, 10))).size == (4_001, 4_001)


def progressive(width: int, height: int, scans: int) -> bytes:
    """A gray progressive JPEG: one scan of the means, and then the same empty scan of details again and again."""

    def segment(marker: int, content: bytes) -> bytes:
        return struct.pack(">BBH", 255, marker, len(content) + 2) + content

    frame = segment(0xC2, struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0))
    tables = segment(0xDB, bytes([0]) + bytes([1] * 64))
    tables += segment(0xC4, bytes([0x00, 1] + [0] * 15 + [0])) + segment(0xC4, bytes([0x10, 0, 1] + [0] * 14 + [0xE0]))
    blocks = (width // 8) * (height // 8)
    means = segment(0xDA, bytes([1, 1, 0x00, 0, 0, 0x00])) + bytes((blocks + 7) // 8)
    runs = -(-blocks // 32767)  # of blocks without details, 0xE0 and 14 bits each: at most 32767 together
    details = segment(0xDA, bytes([1, 1, 0x00, 1, 63, 0x00])) + bytes(runs * 2)
    return b"\xff\xd8" + tables + frame + means + details * (scans - 1) + b"\xff\xd9"


@pytest.mark.parametrize(("side", "scans"), [(8_000, 17), (1_000, 1_025)])
def test_jpegs_of_very_many_scans_are_refused(tmp_path, side, scans):
    (tmp_path / "slow.jpg").write_bytes(progressive(side, side, scans))
    with pytest.raises(ValueError, match=rf"slow\.jpg: a progressive JPEG with {scans} scans takes too long"):
        open_image(tmp_path / "slow.jpg")
    (tmp_path / "slow.jpg").write_bytes(progressive(1_000, 1_000, 20))
    assert open_image(tmp_path / "slow.jpg").size == (1_000, 1_000)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_cut_short(tmp_path, format):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    noise.save(buffer := io.BytesIO(), format=format)
    (tmp_path / "cut").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(ValueError, match=r"cut: (damaged or truncated|not a valid image)"):
        open_image(tmp_path / "cut")


def test_what_is_no_image_says_so(tmp_path):
    (tmp_path / "text.png").write_text("an image, in words")
    (tmp_path / "postscript.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    Image.new("F", (4, 4)).save(tmp_path / "float.tif")
    for name, complaint in {
        "text.png": r"not a valid image in a supported format \(PNG, .*; convert",
        "postscript.png": "not a valid image",  # Pillow, left to guess, would start Ghostscript
        "float.tif": "the white level of F pixels is unknown",
        "absent.png": "no such file",
        ".": "is a folder",
    }.items():
        with pytest.raises(ValueError, match=complaint) as caught:
            open_image(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))


def test_as_image_takes_the_three_kinds(tmp_path):
    SMALL.save(tmp_path / "small.png")
    for value in (tmp_path / "small.png", str(tmp_path / "small.png"), SMALL, np.asarray(SMALL)):
        assert np.array_equal(np.asarray(as_image(value)), np.asarray(SMALL))
    assert as_image(Image.new("L", (3, 2), 7)).getpixel((0, 0)) == (7, 7, 7)
    with pytest.raises(ValueError, match=r"received \(2, 2, 3\) of float32"):
        as_image(np.zeros((2, 2, 3), np.float32))
    with pytest.raises(ValueError, match="received NoneType"):
        as_image(None)


@given(st.integers(1, 40), st.integers(1, 40), st.randoms(use_true_random=False))
def test_padding_makes_a_square_and_keeps_every_pixel(width, height, random):
    pixels = np.frombuffer(random.randbytes(width * height * 3), dtype=np.uint8).reshape(height, width, 3)
    square = np.asarray(pad_to_square(Image.fromarray(pixels), (1, 2, 3)))
    side = max(width, height)
    assert square.shape == (side, side, 3)
    top, left = (side - height) // 2, (side - width) // 2
    assert np.array_equal(square[top : top + height, left : left + width], pixels)
    outside = np.ones((side, side), dtype=bool)
    outside[top : top + height, left : left + width] = False
    assert (square[outside] == (1, 2, 3)).all()
