"""Sets are read clip by clip, split by subject, and sent to other processes by their path."""

import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from refilm.data.encoding import EncodedSet, EncoderIdentity, EncodeSettings, Entry
from refilm.data.encoding.buckets import sizes
from refilm.data.encoding.index import write_index
from refilm.data.encoding.keys import digest
from refilm.data.encoding.shards import read_shards, write_shard
from refilm.geometry import Compression


def make(folder, subjects: list[str | None]) -> EncodedSet:
    """A cache whose clip i contains only the number i; it has two captions and two references."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for start in range(0, len(subjects), 50):
        numbers = torch.arange(start, min(start + 50, len(subjects))).half()
        latents, text, references = ([digest(kind, int(n), k) for n in numbers for k in (0, 1)] for kind in "ltr")
        shape = (1 + start % 100 // 50, 2, 2, 2)
        rows = numbers[:, None, None, None, None].expand(-1, *shape)
        write_shard(folder, "latents", latents[::2], {"mean": rows, "logvar": 0 * rows})
        write_shard(folder, "text", text, {"text": numbers.repeat_interleave(2)[:, None, None].expand(-1, 3, 4)})
        write_shard(folder, "references", references, {"references": torch.randn(len(text), 1, 5, 4).half()})
        for row, number in enumerate(range(start, start + len(numbers))):
            keys = slice(2 * row, 2 * row + 2)
            entries.append(
                Entry(
                    video=f"{number}.mp4",
                    captions=("one", "other"),
                    subject=subjects[number],
                    source=f"video {number}",
                    latents=latents[2 * row],
                    text=tuple(text[keys]),
                    references=tuple(reversed(references[keys])),
                )
            )
    write_index(
        folder, entries, read_shards(folder), settings=EncodeSettings(), encoders=EncoderIdentity("a", "b", "c")
    )
    return EncodedSet(folder)


def numbers(clips) -> list[int]:
    return [int(clip.mean[0, 0, 0, 0]) for clip in clips]


def test_clips_come_in_order_with_what_is_known_of_them(tmp_path):
    clips = make(tmp_path, [f"subject {number % 7}" for number in range(120)])
    assert numbers(clips) == list(range(120))
    assert (clips[-1].mean == clips[119].mean).all()
    with pytest.raises(IndexError):
        clips[120]
    assert clips[3].text.shape == (2, 3, 4)
    assert clips[3].references.shape == (2, 1, 5, 4)
    assert (clips.entries[99].video, clips.entries[99].subject) == ("99.mp4", "subject 1")
    assert {shape: indices.tolist() for shape, indices in clips.buckets.items()} == {
        (1, 2, 2): [*range(50), *range(100, 120)],
        (2, 2, 2): list(range(50, 100)),
    }


def test_subjects_stay_together(tmp_path):
    clips = make(tmp_path, [f"subject {number % 20}" for number in range(200)])
    train, held_out = clips.split()
    assert sorted(numbers(train) + numbers(held_out)) == list(range(200))
    assert len(held_out) == 20
    sides = [{part.entries[i].subject for i in range(len(part))} for part in (train, held_out)]
    assert not sides[0] & sides[1]
    for part in (train, held_out):
        for shape, indices in part.buckets.items():
            assert all(part[index].mean.shape[0] == shape[0] for index in indices.tolist())
    assert len({part.identity for part in (clips, train, held_out)}) == 3
    again = EncodedSet(tmp_path).split()
    assert [part.identity for part in again] == [train.identity, held_out.identity]
    with pytest.raises(ValueError, match="held-out fraction must be above 0 and below 1, received 1"):
        clips.split(1)


@pytest.mark.parametrize(
    ("subjects", "held_out"),
    [([None] * 40, 4), (["one"] * 40, 4), (["one"] * 30 + ["other"] * 10, None), ([None] * 9, 9)],
)
def test_both_sides_have_clips(tmp_path, subjects, held_out):
    clips = make(tmp_path, subjects)
    train, other = clips.split()
    assert len(train)
    assert len(other) == (held_out or len(clips) - len(train))
    assert numbers(other) != list(range(4))  # by a rule that knows no order


def test_sets_travel_by_path(tmp_path):
    train, _ = make(tmp_path, [None] * 60).split()
    sent = pickle.dumps(train)
    assert len(sent) < 2000
    assert numbers(pickle.loads(sent)) == numbers(train)
    assert pickle.loads(sent).identity == train.identity


def test_what_would_not_fit_half_precision_stays_single(tmp_path):
    from refilm.data.encoding.shards import compact

    assert compact(torch.tensor([1.0, 60000.0])).dtype == torch.float16
    assert compact(torch.tensor([1.0, 70000.0])).dtype == torch.float32


@given(st.integers(4, 60), st.integers(4, 60))
def test_buckets_are_of_about_the_area_that_was_asked_for(high, wide):
    compression = Compression()
    settings = EncodeSettings(frames=49, height=16 * high, width=16 * wide, buckets=True)
    found = sizes(settings, compression)
    assert (settings.height, settings.width) in found
    area = settings.height * settings.width
    for height, width in found:
        compression.latent_size(height, width)
        assert abs(height * width - area) <= height * 8  # half a step of width
    assert sizes(settings.model_copy(update={"buckets": False}), compression) == [(16 * high, 16 * wide)]
    for height in {height for height, _ in found}:
        assert sum(other == height for other, _ in found) == 1
