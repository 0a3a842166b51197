"""What other programs leave of the note in a video: FFmpeg, which most of them use, and Pillow."""

import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from refilm.media import Video
from refilm.media.notes import read_note

FRAMES = np.random.default_rng(0).integers(0, 255, (5, 64, 64, 3), dtype=np.uint8)
NOTE = '{"prompt": "狐 \\" = # ;", "subjects": "' + 5000 * "y" + '"}'
COPY, TAGS = ("-c", "copy"), ("-movflags", "use_metadata_tags")


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name in ("fox.mp4", "fox.webm", "fox.gif", "fox.webp", "fox.png"):
        Video(FRAMES, 8.0, NOTE).save(folder / name, scale=1)
    return folder


@pytest.mark.parametrize(
    ("source", "target", "options", "kept"),
    [
        ("fox.mp4", "copy.mp4", {}, False),
        ("fox.mp4", "copy.mp4", {"movflags": "use_metadata_tags"}, True),
        ("fox.mp4", "copy.mkv", {}, True),
        ("fox.webm", "copy.webm", {}, True),
        ("fox.webm", "copy.mp4", {}, False),
        ("fox.webm", "copy.mp4", {"movflags": "use_metadata_tags"}, True),
    ],
)
def test_copied_packets(videos, tmp_path, source, target, options, kept):
    """As FFmpeg copies them, which sets the metadata of the input on the output."""
    with av.open(videos / source) as read, av.open(tmp_path / target, "w", options=options) as written:
        written.metadata.update(read.metadata)
        stream = written.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                written.mux(packet)
    assert read_note(tmp_path / target) == (NOTE if kept else None)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the program ffmpeg")
@pytest.mark.parametrize(
    ("source", "target", "options", "kept"),
    [
        ("fox.mp4", "copy.mp4", COPY, False),
        ("fox.mp4", "copy.mp4", (*COPY, *TAGS), True),
        ("fox.mp4", "encoded.mp4", (), False),
        ("fox.mp4", "encoded.mp4", TAGS, True),
        ("fox.mp4", "encoded.webm", (), True),
        ("fox.mp4", "encoded.gif", (), False),
        ("fox.webm", "copy.webm", COPY, True),
        ("fox.webm", "encoded.webm", (), True),
        ("fox.webm", "encoded.mp4", (), False),
        ("fox.webm", "encoded.mp4", TAGS, True),
        ("fox.gif", "encoded.gif", (), False),
        ("fox-000.png", "encoded.png", (), False),
    ],
)
def test_ffmpeg(videos, tmp_path, source, target, options, kept):
    command = ["ffmpeg", "-v", "error", "-i", videos / source, *options, tmp_path / target]
    subprocess.run(command, check=True, timeout=60)
    assert read_note(tmp_path / target) == (NOTE if kept else None)


@pytest.mark.parametrize(("source", "kept"), [("fox.gif", True), ("fox.webp", False), ("fox-000.png", False)])
def test_pillow(videos, tmp_path, source, kept):
    with Image.open(videos / source) as image:
        image.save(tmp_path / source, save_all=True)
    assert read_note(tmp_path / source) == (NOTE if kept else None)
