"""Frames, latent frames and tokens: each number of one kind has exactly one of the others."""

from dataclasses import replace

import pytest

from refilm.backbones.cogvideox.sizes import cogvideox_2b, cogvideox_15_5b
from refilm.errors import UserError
from refilm.geometry import Compression, Grid


@pytest.mark.parametrize("compression", [Compression(), Compression(time=2, patch_time=3)])
def test_frames_and_latent_frames_are_converted_both_ways(compression):
    each = compression.patch_time
    counts = {latent_frames: compression.frames(latent_frames) for latent_frames in range(each, 8 * each, each)}
    for latent_frames, frames in counts.items():
        assert compression.latent_frames(frames) == latent_frames
    for frames in set(range(-1, max(counts.values()))) - set(counts.values()):
        with pytest.raises(UserError, match=f"{frames} frames: the number must be {compression.token_frames}k"):
            compression.latent_frames(frames)


@pytest.mark.parametrize(
    ("size", "frames", "grid"), [(cogvideox_2b(), 49, (13, 30, 45)), (cogvideox_15_5b(), 81, (11, 48, 85))]
)
def test_the_token_grid_of_published_videos(size, frames, grid):
    compression = Compression().read_by(size)
    sides = (480, 720) if frames == 49 else (768, 1360)
    assert size.grid(compression.latent_frames(frames), *compression.latent_size(*sides)) == Grid(*grid)


def test_a_compression_is_that_of_the_transformer_that_reads_it():
    assert Compression(time=2).read_by(replace(cogvideox_15_5b(), patch=4)) == Compression(
        time=2, patch=4, patch_time=2
    )
