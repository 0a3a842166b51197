"""Notes in the metadata of every format, also long ones and ones with every kind of character."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from refilm.errors import UserError
from refilm.media import Video
from refilm.media.notes import read_note

FRAMES = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), dtype=np.uint8)
SUFFIXES = (".mp4", ".webm", ".gif", ".webp", ".png")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("note", ['{"prompt": "a fox; \\"quoted\\" = # \\\\ ü 狐 🦊"}', "x" * 200_000])
def test_a_note_is_read_back(tmp_path, suffix, note):
    files = Video(FRAMES, 8.0, note).save(tmp_path / f"video{suffix}", scale=1)
    assert [read_note(file) for file in files] == [note] * len(files)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_without_a_note_there_is_none_and_frames_are_the_same(tmp_path, suffix):
    plain = Video(FRAMES, 8.0).save(tmp_path / f"plain{suffix}", scale=1)
    noted = Video(FRAMES, 8.0, "a note").save(tmp_path / f"noted{suffix}", scale=1)
    assert [read_note(file) for file in plain] == [None] * len(plain)
    if suffix != ".webp":
        assert np.array_equal(pixels(plain), pixels(noted))


def pixels(files):
    if files[0].suffix == ".png":
        return np.stack([np.asarray(Image.open(file)) for file in files])
    from refilm.media import open_video

    return open_video(files[0]).frames


@settings(max_examples=20)
@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_any_text_is_a_note(tmp_path_factory, note):
    folder = tmp_path_factory.mktemp("notes")
    for suffix in SUFFIXES:
        (file, *_) = Video(FRAMES[:1], 8.0, note).save(folder / f"video{suffix}", scale=1)
        assert read_note(file) == note, suffix


def test_files_that_are_no_videos(tmp_path):
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(UserError, match=r"text\.mp4: neither a video nor an image"):
        read_note(tmp_path / "text.mp4")
    with pytest.raises(UserError, match=r"missing\.mp4: no such file"):
        read_note(tmp_path / "missing.mp4")
    (file,) = Video(FRAMES, 8.0, "a note").save(tmp_path / "video.mp4")
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(UserError, match=r"video\.mp4: truncated"):
        read_note(file)
