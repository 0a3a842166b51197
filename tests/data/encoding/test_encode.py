"""Encodings equal the encoders' output and are created once, also after interruptions, kills and changes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from refilm.data import critters
from refilm.data.cutting import AugmentJob, augmented_images
from refilm.data.drawn import Critters, DoubleCritters
from refilm.data.encoding import EncodedSet
from refilm.data.samples import Files, Joined
from refilm.data.settings import AugmentationSettings
from refilm.media import Video, open_image, open_video
from refilm.media.pooling import pooled

from .clips import SETTINGS, contents


def close(a, b, tolerance=2e-3) -> bool:
    return torch.allclose(a.float(), b.float(), rtol=tolerance, atol=tolerance)


def test_encodings_are_what_the_encoders_say(encoding, tmp_path):
    """The reference implementation: one clip after another, directly through the encoders."""
    clips = Critters(3, references=2, size=32)
    assert encoding(clips, tmp_path) == 3 + 6 + len({c for i in range(3) for c in clips[i].captions})
    found = EncodedSet(tmp_path)
    assert len(found) == 3
    for index, clip in enumerate(found):
        video = critters.draw_video(0, index, "train", size=32)[:5]
        mean, std = encoding.encoders.autoencoder.posterior(torch.from_numpy(video)[None])
        assert close(clip.mean, mean[0])
        assert close((0.5 * clip.logvar.float()).exp(), std[0])
        noise = torch.randn(clip.mean.shape)
        assert close(clip.latents(noise), mean[0] + std[0] * noise, 1e-2)
        assert close(clip.text, encoding.encoders.text(clips[index].captions))
        images = [image.load((255, 255, 255)) for image in clips[index].references]
        assert close(clip.references, encoding.encoders.image(images)[:, None])
        assert clip.mask is None
        assert clip.mean.dtype == torch.float16
        entry = found.entries[index]
        assert entry.captions == clips[index].captions
        assert entry.subject == clips[index].subject


def test_files_with_views_masks_and_parts(encoding, examples, tmp_path):
    mask = tmp_path / "clips" / "mask.png"
    Image.fromarray(np.repeat(np.eye(32, dtype=np.uint8)[..., None] * 255, 3, 2)).save(mask)
    examples = [replace(examples[0], start=0.5, mask=mask), *examples[1:]]
    settings = SETTINGS.model_copy(update={"views": AugmentationSettings(count=2)})
    encoding(examples, tmp_path / "cache", settings=settings)
    found = EncodedSet(tmp_path / "cache")
    assert [clip.mask is None for clip in found] == [False, True, True]
    clip = found[0]
    video = open_video(examples[0].video, start=0.5).frames[:5]
    assert close(clip.mean, encoding.encoders.autoencoder.posterior(torch.from_numpy(video)[None])[0][0])
    flat = np.repeat(np.eye(32)[None], 5, 0)
    assert close(clip.mask, torch.from_numpy(pooled(flat, encoding.encoders.autoencoder.compression)))
    image = Files(examples)[0].references[0]
    seen = augmented_images(AugmentJob(image, settings.views, (255, 255, 255)))
    assert close(clip.references, encoding.encoders.image(seen)[None])
    assert np.array_equal(np.asarray(seen[0]), np.asarray(open_image(image.path)))
    assert clip.references.shape[:2] == (1, 3)


def test_subjects_of_one_video_have_its_latents_which_are_encoded_once(encoding, tmp_path, monkeypatch):
    autoencoder, posterior, encoded = encoding.encoders.autoencoder, encoding.encoders.autoencoder.posterior, []
    monkeypatch.setattr(autoencoder, "posterior", lambda pixels: encoded.append(len(pixels)) or posterior(pixels))
    encoding(Joined((DoubleCritters(2, size=32), Critters(1, size=32))), tmp_path)
    found = EncodedSet(tmp_path)
    assert sum(encoded) == 3
    for double in range(2):
        shot = critters.draw_double(0, double, "train", size=32)
        mean, _ = posterior(torch.from_numpy(shot.frames[:5])[None])
        for subject in range(2):
            clip = found[2 * double + subject]
            assert close(clip.mean, mean[0])
            assert close(
                clip.mask, torch.from_numpy(pooled(shot.masks[subject, :5].astype(float), autoencoder.compression))
            )


def test_a_second_run_does_nothing(encoding, tmp_path):
    assert encoding(Critters(3), tmp_path) > 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert encoding(Critters(3), tmp_path) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_what_changed_is_encoded_anew_and_no_more(encoding, examples, tmp_path):
    cache = tmp_path / "cache"
    assert encoding(examples, cache) == 3 + 3 + len({example.caption for example in examples})
    first = EncodedSet(cache).identity

    examples[1] = replace(examples[1], caption="a critter that nobody has seen")
    assert encoding(examples, cache) == 1
    assert close(EncodedSet(cache)[1].text, encoding.encoders.text([examples[1].caption]))
    assert EncodedSet(cache).identity != first

    Video(critters.draw_video(7, 7, "train", size=32), 8).save(examples[2].video, scale=1)
    assert encoding(examples, cache) == 1
    pixels = torch.from_numpy(open_video(examples[2].video).frames[:5])
    assert close(EncodedSet(cache)[2].mean, encoding.encoders.autoencoder.posterior(pixels[None])[0][0])

    shutil.copy(examples[0].references[0].image, examples[1].references[0].image)
    assert encoding(examples, cache) == 0  # an image that is there already
    found = EncodedSet(cache)
    assert torch.equal(found[0].references, found[1].references)

    renamed = examples[0].video.with_name("renamed.mp4")
    examples[0] = replace(examples[0], video=examples[0].video.rename(renamed))
    assert encoding(examples, cache) == 0
    assert EncodedSet(cache).entries[0].video == str(renamed)

    assert encoding(examples, cache, identity=encoding.other(references="another")) == 2
    assert encoding(examples, cache, identity=encoding.other(latents="another")) == 3
    assert encoding(examples, cache, settings=SETTINGS.model_copy(update={"fps": 4.0})) == 3
    assert encoding(list(reversed(examples)), cache) == 0
    assert [entry.video for entry in EncodedSet(cache).entries] == [str(e.video) for e in reversed(examples)]


def test_a_clip_that_cannot_be_used_stops_with_its_name_and_keeps_the_rest(encoding, examples, tmp_path):
    cache, good = tmp_path / "cache", examples[2].video.read_bytes()
    examples[2].video.write_bytes(good[: len(good) // 2])
    with pytest.raises(ValueError, match=r"00003.mp4: truncated"):
        encoding(examples, cache)
    with pytest.raises(ValueError, match="not a complete cache"):
        EncodedSet(cache)
    kept = len(list(cache.glob("latents-*.safetensors")))
    assert kept == 1
    examples[2].video.write_bytes(good)
    assert encoding(examples, cache) == 1

    with pytest.raises(ValueError, match=r"00001.mp4: has 17 frames at 8 fps, but 49 are required"):
        encoding(examples, cache, settings=SETTINGS.model_copy(update={"frames": 49}))
    with pytest.raises(ValueError, match=r"00001.mp4: has no reference; .* refilm data prepare"):
        encoding([replace(examples[0], references=())], cache)
    with pytest.raises(ValueError, match=r"6 frames: the number must be 4k \+ 1"):
        encoding(examples, cache, settings=SETTINGS.model_copy(update={"frames": 6}))


def test_buckets(encoding, examples, tmp_path):
    wide = np.repeat(critters.draw_video(0, 9, "train", size=32), 2, axis=2)
    Video(wide[:11], 8).save(examples[1].video, scale=1)
    settings = SETTINGS.model_copy(update={"frames": 17, "buckets": True})
    encoding(examples, tmp_path / "cache", settings=settings)
    found = EncodedSet(tmp_path / "cache")
    sizes = {shape: indices.tolist() for shape, indices in found.buckets.items()}
    assert sizes == {(5, 8, 8): [0, 2], (3, 6, 10): [1]}
    for shape, indices in sizes.items():
        for index in indices:
            assert found[index].mean.shape == (shape[0], 16, *shape[1:])


def test_several_processes_make_what_one_makes(encoding, tmp_path):
    clips = Critters(5)
    total = encoding(clips, tmp_path / "one")
    second = encoding(clips, tmp_path / "two", rank=1, ranks=2)
    with pytest.raises(ValueError, match="encodings of other processes are missing"):
        encoding(clips, tmp_path / "other", rank=0, ranks=2)
    first = encoding(clips, tmp_path / "two", rank=0, ranks=2)
    assert first + second == total
    assert abs(first - second) <= 3
    one, two = (EncodedSet(tmp_path / name) for name in ("one", "two"))
    assert one.identity == two.identity
    for mine, theirs in zip(one, two, strict=True):
        assert close(mine.mean, theirs.mean)
        assert close(mine.logvar, theirs.logvar)
        assert close(mine.text, theirs.text)
        assert close(mine.references, theirs.references)


CODE = """
import sys
from pathlib import Path
from refilm.data.drawn import Critters
sys.path.insert(0, sys.argv[1])
from clips import Encoding
Encoding(Path(sys.argv[2]))(Critters(24), Path(sys.argv[3]))
"""


def test_a_killed_process_goes_on_to_the_same_bytes(encoding, tiny_base, tmp_path):
    encoding(Critters(24), tmp_path / "unbroken")
    broken = tmp_path / "broken"
    for kind, shards in (("references", 2), ("latents", 2)):
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, os.path.dirname(__file__), str(tiny_base), str(broken)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path)},
        )
        stop = time.monotonic() + 300
        while len(list(broken.glob(f"{kind}-*.json"))) < shards:
            assert process.poll() is None
            assert time.monotonic() < stop
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    there = len(list(broken.glob("*.json")))
    assert encoding(Critters(24), broken) > 0
    assert there < len(list(broken.glob("*.json")))
    assert contents(broken) == contents(tmp_path / "unbroken")


def test_what_is_half_written_is_not_taken(encoding, tmp_path):
    encoding(Critters(6), tmp_path)
    whole = contents(tmp_path)
    one, two = sorted(tmp_path.glob("latents-*.safetensors"))
    one.with_suffix(".json").unlink()
    two.write_bytes(two.read_bytes()[:-1])
    (tmp_path / ".text-1234.safetensors-ab.unfinished").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"(sidecar is missing|bytes instead of).*; run refilm data verify, then"):
        [EncodedSet(tmp_path)[place] for place in range(6)]  # which clips are in the short one, their contents say
    assert encoding(Critters(6), tmp_path) == 6
    assert contents(tmp_path) == whole
