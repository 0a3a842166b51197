"""Clips are cropped to the nearest aspect ratio and trimmed; masks match; augmentation is deterministic."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from refilm.data.cutting import AugmentJob, CutClip, augmented_images, cut_clip, fitted, nearest_size
from refilm.data.samples import ClipFile, ImageFile, MaskFile, hashed
from refilm.data.settings import AugmentationSettings
from refilm.geometry import Compression
from refilm.media import Video, open_video

SMALL = Compression(space=4)
WHITE = (255, 255, 255)


def saved(path: Path, frames: np.ndarray) -> ClipFile:
    Video(frames, 8).save(path, scale=1)
    return ClipFile(path, hashed(path))


def cut(video, mask=None, *, frames=9, flexible=False, sizes=((32, 32),)) -> CutClip:
    return CutClip(video, mask, 8, frames, flexible, sizes, SMALL)


def masked(home: Path) -> ImageFile:
    """An image and its mask."""
    return ImageFile(home / "a.png", hashed(home / "a.png"), home / "m.png", hashed(home / "m.png"))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def test_a_video_of_that_size_is_left_as_it_is(tmp_path):
    video = saved(tmp_path / "a.mp4", noise(12, 32, 32))
    pixels, mask = cut_clip(cut(video))
    assert mask is None
    assert np.array_equal(pixels, open_video(video.path).frames[:9])


def test_pixels_that_were_enlarged_by_a_whole_factor_come_back():
    small = noise(32, 32)
    assert np.array_equal(fitted(small.repeat(7, 0).repeat(7, 1), (32, 32)), small)


def test_a_wide_video_loses_its_sides(tmp_path):
    frames = np.zeros((9, 64, 128, 3), np.uint8)
    frames[:, :, 32:96] = 200
    pixels, _ = cut_clip(cut(saved(tmp_path / "wide.mp4", frames)))
    assert pixels.shape == (9, 32, 32, 3)
    assert pixels.min() > 150


def test_with_buckets_it_keeps_its_shape_and_length(tmp_path):
    video = saved(tmp_path / "a.mp4", noise(7, 48, 96))
    sizes = ((24, 40), (32, 32), (40, 24))
    assert cut_clip(cut(video, flexible=True, sizes=sizes))[0].shape == (5, 24, 40, 3)
    with pytest.raises(ValueError, match=r"a.mp4: has 7 frames at 8 fps, but 9 are required; .* or buckets"):
        cut_clip(cut(video, sizes=sizes))


def test_whole_tokens_are_kept_and_the_mask_repeats_the_first_frame(tmp_path):
    """With tokens of two latent frames: 1, 9, 17 frames, of 2, 4, 6 latent frames."""
    video = saved(tmp_path / "a.mp4", noise(16, 32, 32))
    white = np.zeros((16, 32, 32, 3), np.uint8)
    white[0] = 255
    mask = saved(tmp_path / "m.mp4", white)
    pixels, pooled_mask = cut_clip(
        replace(cut(video, mask, frames=17, flexible=True), compression=replace(SMALL, patch_time=2))
    )
    assert len(pixels) == 9
    assert (pooled_mask.mean(axis=(1, 2)) > 0.5).tolist() == [True, True, False, False]


def test_masks_are_cut_as_their_video_is(tmp_path):
    video = saved(tmp_path / "a.mp4", noise(9, 64, 128))
    right = np.zeros((9, 64, 128, 3), np.uint8)
    right[5:, :, 64:] = 255
    moving = cut_clip(cut(video, saved(tmp_path / "m.mp4", right)))[1]
    assert moving.shape == (3, 8, 8)
    assert np.abs(moving[:2]).max() < 0.1
    assert np.abs(moving[2] - (np.arange(8) >= 4)).max() < 0.1

    Image.fromarray(right[8]).save(tmp_path / "m.png")
    still = cut_clip(cut(video, MaskFile(tmp_path / "m.png", hashed(tmp_path / "m.png"))))[1]
    assert np.abs(still - (np.arange(8) >= 4)).max() < 0.1

    with pytest.raises(ValueError, match=r"m.mp4: the mask has 3 frames, the clip 9"):
        cut_clip(cut(video, saved(tmp_path / "m.mp4", right[:3])))


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_no_size_is_nearer_in_shape(height, width):
    sizes = [(8 * a, 8 * b) for a in range(1, 8) for b in range(1, 8)]
    chosen = nearest_size(height, width, sizes)
    ratio = lambda size: max(size[0] * width / (size[1] * height), size[1] * height / (size[0] * width))  # noqa: E731
    assert ratio(chosen) <= min(map(ratio, sizes)) * (1 + 1e-6)


def test_views_are_the_same_every_time_and_differ_from_each_other(tmp_path):
    Image.fromarray(noise(48, 64)).save(tmp_path / "a.png")
    job = AugmentJob(ImageFile(tmp_path / "a.png", hashed(tmp_path / "a.png")), AugmentationSettings(count=2), WHITE)
    plain, *others = augmented_images(job)
    assert np.array_equal(np.asarray(plain), noise(48, 64))
    again = augmented_images(job)[1:]
    assert [view.tobytes() for view in again] == [view.tobytes() for view in others]
    assert others[0].tobytes() != others[1].tobytes()
    Image.fromarray(noise(48, 64)).save(tmp_path / "b.png", compress_level=0)  # the same image in another file
    moved = AugmentJob(ImageFile(tmp_path / "b.png", hashed(tmp_path / "b.png")), AugmentationSettings(count=2), WHITE)
    assert augmented_images(moved)[1].tobytes() != others[0].tobytes()


def test_a_masked_reference_is_cut_out(tmp_path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "a.png")
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 16, 48, 48))
    mask.save(tmp_path / "m.png")
    reference = masked(tmp_path)
    (plain,) = augmented_images(AugmentJob(reference, AugmentationSettings(), (0, 0, 255)))
    assert (plain.getpixel((32, 32)), plain.getpixel((2, 2))) == ((255, 0, 0), (0, 0, 255))


def test_a_mask_of_another_shape_is_reported_with_its_image(tmp_path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "a.png")
    Image.new("L", (64, 32), 255).save(tmp_path / "m.png")
    reference = masked(tmp_path)
    with pytest.raises(ValueError, match=r"a.png: the mask has 64 x 32 pixels and the image 64 x 64"):
        augmented_images(AugmentJob(reference, AugmentationSettings(), WHITE))


@pytest.mark.parametrize("changed", ["1.mp4", "mask.mp4", "1.png"])
def test_what_changes_under_an_encoding_does_not_come_in(tmp_path, changed):
    """Cache keys are content hashes: other content with the same size and time must not be used instead."""
    for name in ("1.mp4", "mask.mp4"):
        Video(np.full((5, 32, 32, 3), 90, np.uint8), 8).save(tmp_path / name, scale=1)
    Image.new("RGB", (32, 32)).save(tmp_path / "1.png")
    paths = [tmp_path / name for name in ("1.mp4", "mask.mp4", "1.png")]
    video, mask, image = (
        file(path, hashed(path)) for file, path in zip((ClipFile, ClipFile, ImageFile), paths, strict=True)
    )

    def read():
        return cut_clip(cut(video, mask, frames=5)), augmented_images(AugmentJob(image, AugmentationSettings(), WHITE))

    read()
    path = tmp_path / changed
    state, content = path.stat(), path.read_bytes()
    path.write_bytes(content.replace(b"x264", b"x265") if path.suffix == ".mp4" else content + b"\0")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(ValueError, match=rf"{changed}: has changed since it was checked; run: refilm data check"):
        read()
