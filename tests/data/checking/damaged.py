"""Damaged videos and images of each kind, in any number, deterministic."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

FRAMES, RATE, HEIGHT, WIDTH = 12, 8, 64, 96
TEN_BIT = [("mp4", "libx264", "yuv420p10le"), ("mp4", "libx265", "yuv420p10le"), ("matroska", "libx264", "yuv422p10le")]
TEN_BIT += [("mov", "prores_ks", "yuv422p10le")]


def video(seed: int, frames: int = FRAMES, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """(F, H, W, 3) uint8: a coarse texture that moves, with enough detail for kilobytes to mean something."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8))
    image = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    image = np.clip(image + rng.integers(-12, 13, image.shape), 0, 255).astype(np.uint8)
    return np.stack([np.roll(image, 3 * step, axis=1) for step in range(frames)])


def write(
    path: Path,
    frames: np.ndarray,
    *,
    container: str = "mp4",
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times: list[int] | None = None,
    turn: dict | None = None,
) -> Path:
    """A video; `times` are in milliseconds."""
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=RATE)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        if codec == "libx265":
            stream.codec_context.options = {"x265-params": "log-level=none"}
        if times:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if turn:
            stream.set_display_rotation(**turn)
        for number, pixels_of_frame in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels_of_frame)
            if times:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def truncated(path: Path, n: int) -> None:
    container, codec = [("mp4", "libx264"), ("matroska", "libx264"), ("avi", "mpeg4"), ("webm", "libvpx")][n % 4]
    whole = write(path, video(n % 4), container=container, codec=codec).read_bytes()
    path.write_bytes(whole[: random.Random(n).randrange(1, len(whole) - 1)])


def flipped(path: Path, n: int) -> None:
    rng, content = random.Random(n), bytearray(write(path, video(n % 4)).read_bytes())
    for _ in range(rng.choice([1, 4, 40])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def empty(path: Path, n: int) -> None:
    path.write_bytes([b"", bytes(n), b"\n" * n][n % 3])


def text(path: Path, n: int) -> None:
    path.write_text(f"{['<!doctype html><video>', '{}', '#!/bin/sh', 'a dog runs'][n % 4]} {n}\n" * (n + 1))


def playlist(path: Path, n: int) -> None:
    """FFmpeg's own format detection would read the other file."""
    other = write(path.with_name("other.mp4"), video(0)).name
    heads = [b"", b"\0\0\0\x20ftypisom\n", b"\x1a\x45\xdf\xa3\n", b"RIFF\0\0\0\0AVI \n"]
    lists = [f"ffconcat version 1.0\nfile {other}\n", f"#EXTM3U\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n"]
    path.write_bytes(heads[n % 4] + (lists[n // 4 % 2] * (n + 1)).encode())


def audio(path: Path, n: int) -> None:
    container, codec = [("mp4", "aac"), ("wav", "pcm_s16le"), ("ogg", "libopus"), ("matroska", "aac")][n % 4]
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=48000)
        stream.layout = "mono"
        sound = av.AudioFrame.from_ndarray(np.full((1, 1024 * (n + 1)), n, dtype=np.int16), "s16", "mono")
        sound.sample_rate = 48000
        file.mux([*stream.encode(sound), *stream.encode(None)])


def one_frame(path: Path, n: int) -> None:
    write(path, video(n, frames=1))


def variable(path: Path, n: int) -> None:
    gaps = [*random.Random(n).choices([40, 80, 125, 400], k=FRAMES - 4), 400, 400, 40, 40]
    write(path, video(n), times=np.cumsum(gaps).tolist(), container=["mp4", "matroska"][n % 2])


def rotated(path: Path, n: int) -> None:
    turns = [{"degrees": 90}, {"degrees": -90}, {"degrees": 180}, {"degrees": 0, "hflip": True}]
    write(path, video(n), turn=turns[n % 4])


def ten_bit(path: Path, n: int) -> None:
    container, codec, pixels = TEN_BIT[n % 4]
    write(path, video(n), container=container, codec=codec, pixels=pixels)


def image(seed: int, mode: str = "RGB") -> Image.Image:
    """96 x 64 pixels."""
    return Image.fromarray(video(2000 + seed, frames=1)[0]).convert(mode)  # no frame of any clip


def bomb(path: Path, n: int) -> None:
    side = 20_000 + 1000 * n
    if n % 2:
        path.write_bytes(b"GIF89a" + struct.pack("<HH", side, side) + b"\xf7\0\0" + bytes(768) + b";")
    else:
        rows = zlib.compress(bytes(side + 1) * 100)
        chunks = (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b"")
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def cmyk(path: Path, n: int) -> None:
    image(n, "CMYK").save(path, ["JPEG", "TIFF"][n % 2])


def animated(path: Path, n: int) -> None:
    others = [image(n + 1), image(n + 2)]
    image(n).save(path, ["GIF", "WEBP", "PNG"][n % 3], save_all=True, append_images=others)


def exif(path: Path, n: int) -> None:
    tags = Image.Exif()
    tags[0x0112] = 2 + n % 7
    image(n).save(path, ["JPEG", "PNG", "WEBP"][n % 3], exif=tags)


def cut_image(path: Path, n: int) -> None:
    buffer = io.BytesIO()
    image(n).save(buffer, ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"][n % 6])
    path.write_bytes(buffer.getvalue()[: random.Random(n).randrange(1, len(buffer.getvalue()) * 9 // 10)])


def misnamed(path: Path, n: int) -> None:
    image(n).save(path, ["JPEG", "WEBP", "GIF", "BMP", "TIFF"][n % 5])


def no_image(path: Path, n: int) -> None:
    image(n).save(path, ["PPM", "TGA", "ICO", "PDF", "EPS"][n % 5])


def flipped_image(path: Path, n: int) -> None:
    buffer, rng = io.BytesIO(), random.Random(n)
    image(n).save(buffer, ["PNG", "JPEG", "WEBP", "GIF"][n % 4])
    content = bytearray(buffer.getvalue())
    for _ in range(8):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def unusual(path: Path, n: int) -> None:
    image(n, ["1", "L", "LA", "P", "RGBA", "I;16"][n % 6]).save(path, "PNG")


VIDEOS: dict[str, Callable[[Path, int], None]] = {
    "truncated": truncated,
    "flipped": flipped,
    "empty": empty,
    "text": text,
    "playlist": playlist,
    "audio": audio,
    "one frame": one_frame,
    "variable": variable,
    "rotated": rotated,
    "10 bit": ten_bit,
}
IMAGES: dict[str, Callable[[Path, int], None]] = {
    "bomb": bomb,
    "cmyk": cmyk,
    "animated": animated,
    "exif": exif,
    "truncated": cut_image,
    "misnamed": misnamed,
    "no image": no_image,
    "empty": empty,
    "flipped": flipped_image,
    "unusual": unusual,
}
