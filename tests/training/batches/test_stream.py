"""The sample stream: everything of sample n is a function of the seed and n, in any process and order."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from refilm.training.batches.curriculum import samples_at
from refilm.training.batches.stream import Stream, drops, timesteps_at
from refilm.training.distributed.parallel import Place
from refilm.training.settings import ClipLesson, DropSettings, StreamSettings, TimestepSettings

from ..clips import Clips

SQUARE, WIDE, STILL = (3, 2, 2), (3, 2, 4), (1, 2, 2)
CLIPS = Clips({SQUARE: 5, WIDE: 9, STILL: 2})


def stream(clips=CLIPS, **settings) -> Stream:
    lessons = (ClipLesson(until=3, batch=4, latent_frames=2), ClipLesson(until=7, batch=6))
    return Stream(clips, StreamSettings(**{"curriculum": lessons, "seed": 1, **settings}), timesteps=1000)


def rows(batch) -> list[tuple[torch.Tensor, ...]]:
    return list(zip(*(of for of in vars(batch).values() if of is not None), strict=True))


def same(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@settings(max_examples=30)
@given(st.integers(0, 40), st.integers(0, 2**40))
def test_a_batch_drawn_at_once_is_what_its_samples_are_one_by_one(step, seed):
    fresh = stream(seed=seed, still_fraction=0.3)
    together = rows(fresh.batch(step, fresh.samples(step)))
    for number, row in zip(reversed(fresh.samples(step)), reversed(together), strict=True):
        (alone,) = rows(stream(seed=seed, still_fraction=0.3).batch(step, [number]))
        assert same(alone, row)


@settings(max_examples=30)
@given(st.integers(0, 30), st.integers(1, 3), st.integers(1, 2))
def test_processes_and_parts_share_a_batch_without_rest(step, processes, parts):
    from refilm.training.distributed import parallel

    whole = stream()
    everything = dict(zip(whole.samples(step), rows(whole.batch(step, whole.samples(step))), strict=True))
    taken = []
    assume(processes * parts <= len(everything))
    for rank in range(processes):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(parallel, "place", lambda rank=rank: Place(rank, processes))
            for part in parallel.split_batch(whole.samples(step), parts):
                own = stream()  # a process of its own
                assert all(same(row, everything[n]) for n, row in zip(part, rows(own.batch(step, part)), strict=True))
                taken += part
    assert sorted(taken) == list(whole.samples(step))


def test_a_batch_too_small_for_all_parts_is_refused():
    from refilm.training.distributed.parallel import split_batch

    with pytest.raises(
        ValueError, match=r"a batch of 3 cannot be split over 1 processes in 4 parts each: .* at least 4"
    ):
        split_batch(range(3), 4)


@settings(max_examples=30)
@given(st.dictionaries(st.sampled_from([SQUARE, WIDE, STILL]), st.integers(1, 9), min_size=1), st.integers(1, 7))
def test_every_round_through_a_bucket_visits_each_of_its_clips_once(counts, batch):
    clips = Clips(counts)
    endless = stream(clips, curriculum=(ClipLesson(until=1, batch=batch),))
    visits: dict[tuple, list[int]] = {}
    for step in range(40):
        drawn = [one.clip for one in endless.sample_draws(step, endless.samples(step))]
        (size,) = {clips.sizes[clip] for clip in drawn}  # one bucket a batch
        visits.setdefault(size, []).extend(drawn)
    for size, seen in visits.items():
        count = counts[size]
        for start in range(0, len(seen) - count + 1, count):
            assert sorted(seen[start : start + count]) == clips.buckets[size].tolist()


def test_rounds_and_seeds_have_orders_of_their_own():
    clips = Clips({SQUARE: 20})
    orders = [
        tuple(one.clip for one in made.sample_draws(step, made.samples(step)))
        for seed in (0, 1)
        for made in [stream(clips, seed=seed, curriculum=(ClipLesson(until=1, batch=20),))]
        for step in range(3)
    ]
    assert len(set(orders)) == 6


def test_buckets_and_stills_have_their_frequencies():
    mixed = stream(still_fraction=0.25)
    shapes = [tuple(mixed.batch(step, mixed.samples(step)[:1]).latents.shape[1:]) for step in range(3, 163)]
    stills = [shape for shape in shapes if shape[0] == 1]
    of_wide = [shape for shape in shapes if shape[3] == 4]
    assert abs(len(of_wide) / 160 - 0.75 * 9 / 14) < 0.03
    assert abs(len(stills) / 160 - 0.25) < 0.03
    for step in range(40):  # stills come from the images, not from first frames
        drawn = {CLIPS.sizes[one.clip] for one in mixed.sample_draws(step, mixed.samples(step))}
        assert drawn == {STILL} or STILL not in drawn
    assert stream().batch(0, [0]).latents.shape[1] <= 2  # the first lesson's


def test_images_are_drawn_alone_or_as_often_as_other_clips_by_default():
    sizes = [
        CLIPS.sizes[one.sample_draws(step, [one.samples(step).start])[0].clip]
        for one in [stream()]
        for step in range(160)
    ]
    assert abs(sizes.count(STILL) / 160 - 2 / 16) < 0.03
    alone = stream(Clips({STILL: 4}), still_fraction=0.5)
    assert {alone.batch(step, alone.samples(step)).latents.shape[1] for step in range(9)} == {1}
    assert (alone.most(), stream(Clips({STILL: 9, SQUARE: 2})).most()) == (STILL, SQUARE)
    frames = stream(Clips({SQUARE: 5}), still_fraction=1.0)
    assert frames.batch(0, frames.samples(0)).latents.shape[1] == 1
    with pytest.raises(ValueError, match=r"still_fraction: is 1, so 14 clips with motion would never be used beside"):
        stream(still_fraction=1.0)


@pytest.mark.parametrize("batch", [1, 6, 40])
def test_timesteps_cover_all_evenly_in_a_batch_and_from_step_to_step(batch):
    even = stream(Clips({SQUARE: 20}), curriculum=(ClipLesson(until=1, batch=batch),))
    steps = [
        sorted(one.timestep for one in even.sample_draws(step, even.samples(step))) for step in range(960 // batch)
    ]
    for timesteps in steps:
        places = [(timestep + 0.5) * batch / 1000 for timestep in timesteps]
        assert all(abs(place - part - 0.5) <= 0.5 + batch / 1000 for part, place in enumerate(places))
    counts = torch.tensor(steps).flatten().div(50, rounding_mode="floor").bincount()
    assert counts.min() >= 40  # 48 in each twentieth, on the average
    assert counts.max() <= 56


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.5, 0.6)])
def test_logit_normal_timesteps_have_the_logits_of_that_normal(mean, std):
    shares = (torch.arange(100_000) + 0.5) / 100_000
    settings = TimestepSettings(distribution="logit-normal", mean=mean, std=std)
    found = ((timesteps_at(shares, settings, steps=1000) + 0.5) / 1000).logit()
    assert math.isclose(found.mean().item(), mean, abs_tol=0.01)
    assert math.isclose(found.std().item(), std, rel_tol=0.01)
    edges = timesteps_at(torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64), settings, steps=1000)
    assert edges.min() >= 0
    assert edges.max() <= 999


def test_noise_of_neighbours_and_of_other_seeds_is_unrelated():
    clips = Clips({SQUARE: 20}, channels=64)
    one, other = (stream(clips, seed=seed).batch(5, samples_at(stream().settings.curriculum, 5)) for seed in (1, 2))
    noises = torch.cat([one.noise.flatten(1), other.noise.flatten(1), one.latents.flatten(1) - one.latents.mean()])
    relations = torch.corrcoef(noises)[:12, :].fill_diagonal_(0)
    assert relations.abs().max() < 0.15
    assert abs(noises[:12].std() - 1) < 0.02


def test_captions_references_and_views_have_their_frequencies():
    many = stream(Clips({SQUARE: 1}), captions=(0.25, 0.75), curriculum=(ClipLesson(until=1, batch=2000),))
    batch = many.batch(0, many.samples(0))
    captions = Counter(batch.text[:, 0, 0].tolist())
    assert abs(captions[0.25] / 2000 - 0.75) < 0.03
    images = Counter(batch.reference[:, 0, 0, 0].tolist())
    assert sorted(images) == [0, 0.0625, 0.125, 0.25, 0.3125, 0.375]
    assert min(images.values()) > 2000 / 6 * 0.8


def test_frequencies_that_do_not_match_the_captions_are_an_error():
    with pytest.raises(ValueError, match="captions has 1 numbers, but clip 0 has 2 captions"):
        stream(Clips({SQUARE: 1}), captions=(1.0,)).batch(0, [0])
    with pytest.raises(ValidationError, match="give at least one caption a frequency above 0"):
        stream(captions=(0.0, 0.0))


def test_a_clip_without_a_mask_is_all_subject_beside_one_that_has_one():
    class Masked(Clips):
        def __getitem__(self, index):
            mask = torch.zeros(self.sizes[index]).half()
            mask[0, 0, 0] = 0.5
            return replace(super().__getitem__(index), mask=None if index else mask)

    mixed = stream(Masked({SQUARE: 2}), curriculum=(ClipLesson(until=1, batch=2, latent_frames=2),))
    masks = mixed.batch(0, [0, 1]).mask
    assert masks.shape == (2, 2, 2, 2)
    assert sorted(mask.sum().item() for mask in masks) == [0.5, 8]
    assert stream().batch(0, [0]).mask is None


def test_drops_are_disjoint_and_have_their_probabilities():
    uniform = (torch.arange(10_000) + 0.5) / 10_000
    text, reference = drops(uniform, DropSettings(text=0.1, reference=0.2, both=0.05))
    assert ((text == 0) & (reference == 0)).sum() == 500
    assert ((text == 0) & (reference == 1)).sum() == 1000
    assert ((text == 1) & (reference == 0)).sum() == 2000
    with pytest.raises(ValidationError, match="their sum must not exceed 1"):
        DropSettings(text=0.5, reference=0.5, both=0.1)


def test_nothing_is_dropped_by_default():
    text, reference = drops(torch.linspace(0, 1 - 1e-6, 1000), None)
    assert text.all()
    assert reference.all()
