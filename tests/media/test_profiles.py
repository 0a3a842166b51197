"""Images with any color metadata are converted to sRGB."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from refilm.data.checking.declared import declared_by_image
from refilm.media import as_image, open_image, open_mask
from refilm.media.inspecting import inspect_image

# Pure red, green and blue of sRGB, as other color spaces have them: 0..255, with each space's own curve.
P3 = np.array([(234, 51, 35), (117, 251, 76), (0, 0, 245)])
ADOBE = np.array([(219, 0, 0), (144, 255, 60), (0, 0, 250)])
PURE = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255)])
D50_P3 = {
    "rXYZ": (0.51512, 0.24120, -0.00105),
    "gXYZ": (0.29198, 0.69225, 0.04189),
    "bXYZ": (0.15710, 0.06657, 0.78407),
}


DEEP = struct.pack(">12H", *[0] * 3, 0x5501, 0x5502, 0xAA03, *[0xAAAA] * 3, *[0xFFFF] * 3)


def squares(colors: np.ndarray) -> Image.Image:
    return Image.fromarray(colors.astype(np.uint8)[None].repeat(16, axis=0).repeat(16, axis=1))


def read(path) -> np.ndarray:
    return np.asarray(open_image(path))[8, 8::16].astype(int)


def display_p3() -> bytes:
    """The profile that phones write: sRGB's curve, the primaries of P3."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for row in range(int.from_bytes(profile[128:132], "big")):
        tag, place, _ = struct.unpack(">4sII", profile[132 + 12 * row : 144 + 12 * row])
        if (xyz := D50_P3.get(tag.decode())) is not None:
            numbers = b"".join(struct.pack(">i", round(65536 * value)) for value in xyz)
            profile = profile[: place + 8] + numbers + profile[place + 20 :]
    return profile


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(path, image: Image.Image, *chunks: tuple[bytes, bytes]):
    """A PNG with more chunks before its pixels."""
    image.save(buffer := io.BytesIO(), "PNG")
    content = buffer.getvalue()
    path.write_bytes(content[:33] + b"".join(chunk(*one) for one in chunks) + content[33:])
    return path


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_display_p3(tmp_path, format):
    more = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(format, {})
    squares(P3).save(tmp_path / "photo", format, icc_profile=display_p3(), **more)
    assert np.abs(read(tmp_path / "photo") - PURE).max() <= 6
    with Image.open(tmp_path / "photo") as image:
        assert np.abs(np.asarray(as_image(image))[8, 8::16].astype(int) - PURE).max() <= 6


def test_palettes_and_grays_have_profiles_too(tmp_path):
    squares(P3).quantize(8).save(tmp_path / "palette.png", icc_profile=display_p3())
    assert np.abs(read(tmp_path / "palette.png") - PURE).max() <= 6
    clear = squares(P3).convert("RGBA").quantize(8)
    clear.save(tmp_path / "clear.png", icc_profile=display_p3(), transparency=clear.getpixel((40, 8)))
    assert np.abs(read(tmp_path / "clear.png") - [*PURE[:2], (255, 255, 255)]).max() <= 6


@pytest.mark.parametrize("depth", [8, 16])
def test_png_gamma(tmp_path, depth):
    """Linear light: 0.5 is 188 in sRGB."""
    half = np.full((16, 16), 128 if depth == 8 else 32768, np.uint8 if depth == 8 else np.uint16)
    path = png(tmp_path / "linear.png", Image.fromarray(half), (b"gAMA", struct.pack(">I", 100000)))
    assert np.abs(np.asarray(open_image(path))[8, 8].astype(int) - 188).max() <= 1
    assert inspect_image(path).shown.colors == "gamma 1"
    path = png(tmp_path / "usual.png", Image.fromarray(half), (b"gAMA", struct.pack(">I", 45455)))
    assert open_image(path).getpixel((8, 8)) == (128, 128, 128)
    path = png(tmp_path / "srgb.png", Image.fromarray(half), (b"gAMA", struct.pack(">I", 100000)), (b"sRGB", b"\0"))
    assert open_image(path).getpixel((8, 8)) == (128, 128, 128)  # sRGB rules over gAMA


def test_png_chromaticities(tmp_path):
    values = [31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000]
    path = png(tmp_path / "p3.png", squares(P3), (b"cHRM", struct.pack(">8I", *values)))
    assert np.abs(read(path) - PURE).max() <= 4
    nonsense = png(tmp_path / "nothing.png", squares(P3), (b"cHRM", bytes(32)), (b"gAMA", bytes(4)))
    assert np.array_equal(read(nonsense), P3)


def test_png_code_points(tmp_path):
    path = png(tmp_path / "p3.png", squares(P3), (b"cICP", bytes([12, 13, 0, 1])))
    assert np.abs(read(path) - PURE).max() <= 4
    pq = squares(np.array([(148, 148, 148), (0, 0, 0), (255, 255, 255)]))  # 203, 0 and 10000 nits
    path = png(tmp_path / "hdr.png", pq, (b"tEXt", b"Comment\0" + bytes(5000)), (b"cICP", bytes([9, 16, 0, 1])))
    assert np.abs(read(path)[:, 0] - (243, 0, 255)).max() <= 2
    shown = inspect_image(path).shown
    assert (shown.colors, shown.doubt) == (
        "PQ, BT.2020",
        "is HDR (PQ, BT.2020); it is tone-mapped to SDR with compressed highlights",
    )


def test_code_points_rule_over_a_profile(tmp_path):
    squares(P3).save(buffer := io.BytesIO(), "PNG", icc_profile=display_p3())
    content = buffer.getvalue()
    (tmp_path / "both.png").write_bytes(content[:33] + chunk(b"cICP", bytes([1, 13, 0, 1])) + content[33:])
    assert np.array_equal(read(tmp_path / "both.png"), P3)


@pytest.mark.parametrize(("space", "converted"), [(0xFFFF, True), (1, False)])
def test_adobe_rgb_of_cameras(tmp_path, space, converted):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = space
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    squares(ADOBE).save(tmp_path / "photo.jpg", exif=exif, quality=100, subsampling=0)
    with Image.open(tmp_path / "photo.jpg") as image:
        assert image.getexif().get_ifd(0xA005).get(1) == "R03"
    expected = PURE if converted else ADOBE
    assert np.abs(read(tmp_path / "photo.jpg") - expected).max() <= 6


def test_lab(tmp_path):
    colors = np.array([(128, 128, 128), (200, 100, 50), (40, 120, 90)])
    squares(colors).convert("LAB").save(tmp_path / "lab.tif")
    assert np.abs(read(tmp_path / "lab.tif") - colors).max() <= 3
    assert inspect_image(tmp_path / "lab.tif").shown.colors == "LAB"


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "I;16"]
)
def test_every_kind_of_pixels_is_read(mode):
    stripes = squares(np.array([(255, 255, 255), (0, 0, 0), (255, 255, 255)]))
    through = {"PA": "P", "RGBa": "RGBA", "I;16": "I"}.get(mode, mode)
    image = stripes.convert(through).convert(mode)
    if mode == "I;16":  # which convert() clips to 8 bits' values
        image = Image.fromarray(np.asarray(stripes.convert("L")).astype(np.uint16) * 257)
    shown = np.asarray(as_image(image))[8, 8::16]
    assert np.abs(shown.astype(int) - [(255,) * 3, (0,) * 3, (255,) * 3]).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations(tmp_path, orientation):
    marks = np.arange(24).reshape(4, 6)
    stored = {
        1: marks,
        2: marks[:, ::-1],
        3: marks[::-1, ::-1],
        4: marks[::-1],
        5: marks.T,
        6: np.rot90(marks, 1),
        7: marks[::-1, ::-1].T,
        8: np.rot90(marks, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray((10 * stored).astype(np.uint8)).save(tmp_path / "photo.png", exif=exif)
    assert np.array_equal(np.asarray(open_image(tmp_path / "photo.png"))[..., 0], 10 * marks)
    assert inspect_image(tmp_path / "photo.png").turned == (orientation != 1)


def test_sixteen_bits_with_a_transparent_value(tmp_path):
    gray = np.full((8, 8), 40000, np.uint16)
    gray[:, :4] = 1234
    path = png(tmp_path / "gray.png", Image.fromarray(gray), (b"tRNS", struct.pack(">H", 1234)))
    shown = np.asarray(open_image(path, background=(1, 2, 3)))
    assert shown[0, 0].tolist() == [1, 2, 3]
    assert shown[0, 7].tolist() == [156, 156, 156]


@pytest.mark.parametrize(
    ("bits", "kind", "row", "clear", "expected"),
    [
        (2, 0, bytes([0b00011011]), [1], [0, 255, 170, 255]),
        (4, 0, bytes([0x05, 0xAF]), [5], [0, 255, 170, 255]),
        (4, 0, bytes([0x05, 0xAF]), [0], [255, 85, 170, 255]),
        (8, 0, bytes([0, 85, 170, 255]), [85], [0, 255, 170, 255]),
        (16, 2, DEEP, [0x5501, 0x5502, 0xAA03], [0, 255, 170, 255]),
        (16, 2, DEEP, [0] * 3, [255, 85, 170, 255]),
    ],
)
def test_a_transparent_color_of_any_depth(tmp_path, bits, kind, row, clear, expected):
    header = struct.pack(">IIBBBBB", 4, 4, bits, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"tRNS", struct.pack(f">{len(clear)}H", *clear))]
    chunks += [(b"IDAT", zlib.compress((b"\0" + row) * 4)), (b"IEND", b"")]
    (tmp_path / "clear.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks))
    assert np.asarray(open_image(tmp_path / "clear.png"))[2, :, 1].tolist() == expected


@pytest.mark.parametrize(
    ("bits", "white", "row"),
    [
        (16, 0, struct.pack("<4H", 65535, 43690, 21845, 0)),
        (16, 1, struct.pack("<4H", 0, 21845, 43690, 65535)),
        (12, 1, bytes([0x00, 0x05, 0x55, 0xAA, 0xAF, 0xFF])),
        (8, 0, bytes([255, 170, 85, 0])),
    ],
)
@pytest.mark.parametrize("orientation", [1, 2])
def test_deep_grays_of_tiff(tmp_path, bits, white, row, orientation):
    """Scanners write negatives as "white is zero", microscopes 12 bits."""
    strip = row * 4
    tags = {256: 4, 257: 4, 258: bits, 259: 1, 262: white, 273: 8, 274: orientation, 277: 1, 278: 4, 279: len(strip)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    content = b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip
    (tmp_path / "gray.tif").write_bytes(content + struct.pack("<H", len(tags)) + entries + bytes(4))
    shown = np.asarray(open_image(tmp_path / "gray.tif"))[2, :, 1].tolist()
    assert shown == ([0, 85, 170, 255] if orientation == 1 else [255, 170, 85, 0])


def test_premultiplied_tiffs_get_no_dark_edges(tmp_path):
    """Half-transparent red, premultiplied (tag ExtraSamples = 1): blended with white it is 255, 128, 128."""
    premultiplied = Image.new("RGBA", (8, 8), (128, 0, 0, 128))
    premultiplied.save(tmp_path / "soft.tif")
    tag = struct.pack("<HHIH", 338, 3, 1, 2)  # ExtraSamples, as Pillow writes it: straight
    content = (tmp_path / "soft.tif").read_bytes()
    assert content.count(tag) == 1
    (tmp_path / "soft.tif").write_bytes(content.replace(tag, struct.pack("<HHIH", 338, 3, 1, 1)))
    assert np.abs(np.array(open_image(tmp_path / "soft.tif").getpixel((4, 4))) - (255, 127, 127)).max() <= 2
    Image.new("RGBA", (8, 8), (255, 0, 0, 128)).save(tmp_path / "straight.png")
    assert np.abs(np.array(open_image(tmp_path / "straight.png").getpixel((4, 4))) - (255, 127, 127)).max() <= 2


def test_soft_edges_mix_with_the_background_before_scaling(tmp_path):
    """Clear pixels store black; scaled before mixing, they would darken the edge."""
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:, 32:] = (250, 250, 250, 255)
    Image.fromarray(pixels).save(tmp_path / "edge.png")
    small = open_image(tmp_path / "edge.png").resize((7, 7))
    assert np.asarray(small).min() >= 249


@pytest.mark.parametrize(
    ("mode", "reported"),
    [("broken", "has an invalid color profile"), ("CMYK", "is CMYK without a color profile"), ("RGB", None)],
)
def test_doubtful_colors_are_reported(tmp_path, mode, reported):
    image = squares(PURE).convert("CMYK") if mode == "CMYK" else squares(PURE)
    image.save(tmp_path / "photo.jpg", icc_profile=b"not a profile" if mode == "broken" else None)
    found = declared_by_image(tmp_path / "photo.jpg", inspect_image(tmp_path / "photo.jpg"), mask=False)
    assert [one.kind for one in found] == (["color"] if reported else [])
    assert reported is None or reported in found[0].message


@pytest.mark.parametrize("format", ["TIFF", "PNG", "JPEG", "BMP"])
def test_pixels_that_are_not_square_are_reported(tmp_path, format):
    for name, density in {"fax": (200, 100), "plain": (72, 72)}.items():
        Image.new("RGB", (40, 40)).save(tmp_path / name, format, dpi=density)
    Image.new("RGB", (40, 40)).save(tmp_path / "silent", format)
    reported = {}
    for name in ("fax", "plain", "silent"):
        findings = declared_by_image(tmp_path / name, inspect_image(tmp_path / name), mask=False)
        reported[name] = [(one.kind, one.message.split(": ")[1].partition(", but")[0]) for one in findings]
    assert reported == {
        "fax": [("size", "declares a pixel aspect ratio of 0.5")],
        "plain": [],
        "silent": [],
    }


def test_a_ratio_of_pixels_alone(tmp_path):
    """PNG and JFIF can declare the pixel aspect ratio without a unit."""
    png(tmp_path / "a.png", Image.new("RGB", (40, 40)), (b"pHYs", struct.pack(">IIB", 3, 1, 0)))
    assert inspect_image(tmp_path / "a.png").pixel_aspect == pytest.approx(1 / 3)
    Image.new("RGB", (40, 40)).save(buffer := io.BytesIO(), "JPEG")
    content = bytearray(buffer.getvalue())
    place = content.index(b"JFIF\0") + 7
    content[place : place + 5] = struct.pack(">BHH", 0, 1, 2)
    (tmp_path / "a.jpg").write_bytes(content)
    assert inspect_image(tmp_path / "a.jpg").pixel_aspect == 2


def test_several_images_in_a_file_are_reported(tmp_path):
    for name in ("pages.tif", "phone.mpo", "video.webp", "video.png", "video.gif"):
        squares(PURE).save(tmp_path / name, save_all=True, append_images=[squares(P3)])
        assert np.abs(read(tmp_path / name) - PURE).max() <= 40
        found = declared_by_image(tmp_path / name, inspect_image(tmp_path / name), mask=False)
        assert [one.kind for one in found] == ["animated"], name


def test_masks_are_what_is_stored_and_clear_parts_are_black(tmp_path):
    mask = np.zeros((8, 8, 4), np.uint8)
    mask[:4] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    stored = np.asarray(open_mask(tmp_path / "mask.png"))
    assert (stored[:4] == 255).all()
    assert (stored[4:] == 0).all()


@pytest.mark.parametrize(("value", "bad"), [(255, False), (128, False), (127, True), (1, True), (0, True)])
def test_masks_of_labels_are_refused(tmp_path, value, bad):
    """Labels 0 and 1, or a palette's dark red, are read as nearly black."""
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(tmp_path / "mask.png")
    found = declared_by_image(tmp_path / "mask.png", inspect_image(tmp_path / "mask.png"), mask=True)
    assert [(one.kind, one.level) for one in found] == ([("mask", "error")] if bad else [])
