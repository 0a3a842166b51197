"""Samples of one and of two subjects: their references, masks on the right tokens, drops, and a bitwise resume."""

from collections import Counter

import numpy as np
import pytest
import torch
from einops import reduce

from refilm.data import critters
from refilm.data.drawn import Critters, DoubleCritters
from refilm.data.encoding import EncodedSet
from refilm.data.samples import Joined
from refilm.training.batches.stream import Stream
from refilm.training.engine.step import Trainer
from refilm.training.overfit import few_of
from refilm.training.settings import ClipLesson, StepSettings, StreamSettings, ValidationSettings

from ..encoded import encoded, task_on

DOUBLES, SINGLES = 4, 3
LESSONS = (ClipLesson(until=1, batch=16),)


@pytest.fixture(scope="module")
def clips(tiny_base, tmp_path_factory) -> EncodedSet:
    """Three clips of one critter, then four of two, in two entries each."""
    source = Joined((Critters(SINGLES, seed=1), DoubleCritters(DOUBLES, seed=2)))
    return encoded(tiny_base, tmp_path_factory.mktemp("tiny"), source)


def stream(clips, *, batch: int = 16, **subjects) -> Stream:
    settings = StreamSettings(curriculum=(ClipLesson(until=1, batch=batch),), subjects={"most": 2, **subjects}, seed=1)
    return Stream(clips, settings, timesteps=1000)


def test_two_subjects_are_one_sample_with_the_references_of_both(clips):
    made = stream(clips, batch=DOUBLES + SINGLES)
    draws = made.sample_draws(0, made.samples(0))
    shown = sorted(tuple(sorted(one.clip for one in draw.cast.subjects)) for draw in draws)
    assert shown == [(0,), (1,), (2,), (3, 4), (5, 6), (7, 8), (9, 10)]
    batch = made.batch(0, made.samples(0))
    for row, draw in enumerate(draws):
        count = len(draw.cast.subjects)
        assert batch.weight[row].tolist() == [[float(place < count)] * batch.reference.shape[2] for place in range(2)]
        assert not batch.reference[row, count:].any()
        for place, one in enumerate(draw.cast.subjects):
            assert any(torch.equal(batch.reference[row, place], own[0].float()) for own in clips[one.clip].references)


def test_masks_limit_the_subjects_to_the_tokens_where_they_are_drawn(clips, tiny_base):
    task = task_on(clips, tiny_base, subjects={"most": 2, "masks": 1.0}, curriculum=LESSONS)
    batch = task.draw(task.stream, 0, task.samples(0))
    given = task._references(batch)
    grid = task.transformer.size.grid(*batch.where.shape[2:])
    seen = 0
    for row, draw in enumerate(task.stream.sample_draws(0, task.samples(0))):
        for place, one in enumerate(draw.cast.subjects):
            if one.clip < SINGLES:
                assert given.where[row, place].eq(1).all()
                continue
            number, subject = divmod(one.clip - SINGLES, 2)
            drawn = critters.draw_double(2, number, "train", size=64).masks[subject].astype(np.float32)
            small = reduce(drawn, "f (h a) (w b) -> f h w", "mean", h=grid.height, w=grid.width)
            wanted = np.stack(
                [small[0], *small[1 : 4 * (grid.frames - 1) + 1].reshape(-1, 4, *small.shape[1:]).mean(1)]
            )
            assert given.where[row, place].numpy() == pytest.approx(wanted.ravel(), abs=1e-3)
            seen += 1
    assert seen >= 8


def test_half_of_the_samples_have_masks_and_some_drop_a_subject(clips):
    made = stream(clips, batch=2000, masks=0.5, drop=0.25)
    draws = made.sample_draws(0, made.samples(0))
    assert abs(sum(draw.cast.masked for draw in draws) / 2000 - 0.5) < 0.04
    of_two = [draw for draw in draws if draw.clip >= SINGLES]
    alone = [draw for draw in of_two if len(draw.cast.subjects) == 1]
    assert abs(len(alone) / len(of_two) - 0.25) < 0.05
    assert min(Counter(draw.clip for draw in alone).values()) > len(alone) / 8 / 2  # either of the two may be dropped
    few = stream(clips, masks=0.5, drop=0.25)
    batch, draws = few.batch(0, few.samples(0)), few.sample_draws(0, few.samples(0))
    for row, draw in enumerate(draws):
        assert draw.cast.masked or batch.where[row].eq(1).all()
        masks = [clips[one.clip].mask for one in draw.cast.subjects]
        union = 1 if masks[0] is None else torch.stack(masks).amax(0).float()
        assert torch.equal(batch.mask[row], torch.ones_like(batch.mask[row]) * union)


def test_a_sample_of_one_subject_has_the_same_loss_beside_samples_of_two(clips, tiny_base):
    both = task_on(clips, tiny_base, "own", subjects={"most": 2}, curriculum=LESSONS)
    draws = both.stream.sample_draws(0, both.samples(0))
    single = [n for n, draw in zip(both.samples(0), draws, strict=True) if draw.clip < SINGLES]
    beside = both.losses(both.draw(both.stream, 0, both.samples(0)))[single]
    batch = both.draw(both.stream, 0, single)
    batch = type(batch)(**{**vars(batch), "reference": batch.reference[:, :1], "weight": None})
    torch.testing.assert_close(beside, both.losses(batch), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("binding", ["separate", "joint"])
def test_a_run_of_two_subjects_resumes_bitwise(clips, tiny_base, tmp_path, binding):
    subjects = {"most": 2, "masks": 0.5, "drop": 0.2, "binding": binding}

    def trainer() -> Trainer:
        task = task_on(clips, tiny_base, subjects=subjects, loss={"mask_fraction": 0.5}, curriculum=LESSONS)
        return Trainer(task, StepSettings(steps=6))

    unbroken, begun, resumed = trainer(), trainer(), trainer()
    losses = [unbroken.advance() for _ in range(4)]
    assert [begun.advance() for _ in range(2)] == losses[:2]
    torch.save(begun.state(), tmp_path / "state.pt")
    resumed.load_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [resumed.advance() for _ in range(2)] == losses[2:]
    for name, weight in unbroken.trained.items():
        assert torch.equal(weight, resumed.trained[name])


def test_validation_compares_both_subjects_with_others(clips, tiny_base):
    validation = ValidationSettings(samples=32, batch=2)  # some batches have no masks
    task = task_on(clips, tiny_base, "own", subjects={"most": 2, "masks": 0.5}, validation=validation)
    scores = task.validate()
    assert scores["bound"] == pytest.approx(scores["right"] - scores["masked"])
    assert scores["bound"] != 0
    assert scores["gap"] != 0
    assert task.validate() == scores


def test_a_self_test_and_a_split_keep_both_subjects_together(clips):
    few = few_of(clips, 5, most=2)
    assert len(few) == 7
    assert few.firsts.tolist() == [0, 1, 2, 3, 3, 5, 5]
    train, held_out = clips.split(0.3, by="video")
    assert not {one.source for one in train.entries} & {one.source for one in held_out.entries}
    assert len(train) + len(held_out) == len(clips)


def test_without_such_clips_the_samples_are_those_of_one_subject(clips):
    singles = clips.chosen(range(SINGLES))
    one, two = (stream(singles, most=most).batch(0, range(16)) for most in (1, 2))
    assert one.weight is None
    for name in ("latents", "text", "timesteps", "noise", "text_scale", "reference_scale"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    assert torch.equal(one.reference, two.reference[:, :1])
