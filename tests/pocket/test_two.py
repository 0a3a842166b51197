"""The judge of several critters, with the weights in benchmarks/, on real held-out clips with two critters."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from refilm.data import critters
from refilm.pocket.finder import Finder
from refilm.pocket.region_judge import APPEARANCE, REGION_ATTRIBUTES, RegionJudge, SubjectJudgement, mask_input
from refilm.pocket.regions import Region
from refilm.pocket.two import Seen, judge_two, score_in_order, score_subjects

from .worsening import blurred

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
WEIGHTS = BENCHMARKS / "region_judge.safetensors"
COUNT = 24


@cache
def judge() -> RegionJudge:
    return RegionJudge.load(WEIGHTS)


@cache
def finder() -> Finder:
    return Finder.load(BENCHMARKS / "finder.safetensors")


@cache
def clips() -> list[tuple[critters.DoubleStory, critters.Shot]]:
    return [(critters.double_story(77, i, "held_out"), critters.draw_double(77, i, "held_out")) for i in range(COUNT)]


def test_masked_critters_are_classified():
    right = [
        judge().judge(shot.frames, mask).matches(truth)
        for story, shot in clips()
        for truth, mask in zip(SubjectJudgement.all_of(story), shot.masks, strict=True)
    ]
    accuracies = {name: np.mean([one[name] for one in right]) for name in REGION_ATTRIBUTES}
    assert min(accuracies.values()) >= 0.9, accuracies


@pytest.mark.parametrize("worsen", [lambda video: video, blurred], ids=["drawn", "blurred"])
def test_both_critters_are_found_and_classified(worsen):
    seen = [judge_two(worsen(shot.frames), finder(), judge()) for _, shot in clips()]
    assert np.mean([len(one) == 2 for one in seen]) >= 0.9
    scores = [one for (story, _), found in zip(clips(), seen, strict=True) for one in score_subjects(found, story)]
    accuracies = {name: np.mean([one.right[name] for one in scores]) for name in REGION_ATTRIBUTES}
    assert min(accuracies.values()) >= 0.85, accuracies
    assert np.mean([hit for one in scores for hit in one.leaked.values()]) < 0.1


def test_only_the_region_and_its_margin_are_read():
    for _, shot in clips()[:4]:
        near = F.max_pool2d(mask_input(shot.masks[0], len(shot.masks[0])), 11, stride=1, padding=5).numpy() > 0
        noise = np.random.default_rng(0).integers(0, 256, shot.frames.shape, dtype=np.uint8)
        other = np.where(near[..., None], shot.frames, noise)
        for one, same in pairs(judge().logits(other, shot.masks[0]), judge().logits(shot.frames, shot.masks[0])):
            assert torch.allclose(one, same, atol=1e-4)


def test_frames_that_do_not_show_the_critter_are_ignored_for_its_looks():
    _, shot = clips()[0]
    masks = shot.masks[1].copy()
    masks[:6] = False
    whole, part = judge().logits(shot.frames, masks), judge().logits(shot.frames[6:], masks[6:])
    for one, same in pairs({name: whole[name] for name in APPEARANCE}, part):
        assert torch.allclose(one, same, atol=1e-4)


def pairs(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(value, others[name]) for name, value in some.items()]


def seen(*judgements: SubjectJudgement) -> list[Seen]:
    return [Seen(Region("", np.ones((9, 64, 64), bool)), one) for one in judgements]


CAT = critters.Subject("cat", "red", "yellow", "bellied", "wide")
STAR = critters.Subject("star", "blue", "yellow", "split", "wide")
STORY = critters.DoubleStory((CAT, STAR), ("rises", "waits"), "snow")


def test_critters_are_assigned_by_what_the_caption_says():
    cat, star = SubjectJudgement.all_of(STORY)
    assert [one.right for one in score_subjects(seen(star, cat), STORY)] == [cat.matches(cat)] * 2
    swapped = [replace(cat, color="blue", pattern="split"), replace(star, color="red", pattern="bellied")]
    for one in score_subjects(seen(*swapped[::-1]), STORY):
        assert [name for name, right in one.right.items() if not right] == ["color", "pattern"]
        assert one.leaked == {"color": True, "shape": False, "pattern": True, "motion": False}


def test_a_missing_critter_is_wrong_and_leaks_nothing():
    _, star = SubjectJudgement.all_of(STORY)
    missing, there = score_subjects(seen(star), STORY)
    assert missing.seen is None
    assert not any(missing.right.values())
    assert missing.leaked == {}
    assert all(there.right.values())
    assert all(one.seen is None for one in score_subjects([], STORY))


def test_critters_in_given_order_are_not_assigned_anew():
    cat, star = SubjectJudgement.all_of(STORY)
    first, second = score_in_order(seen(star, cat), STORY)
    assert not first.right["shape"]
    assert all(first.leaked.values())
    assert all(second.leaked.values())


def test_one_critter_is_compared_with_the_only_subject():
    story = critters.Story(CAT, "rises", "snow")
    wanted = SubjectJudgement.of(CAT, "rises")
    (score,) = score_subjects(seen(SubjectJudgement.of(STAR, "waits"), wanted), story)
    assert all(score.right.values())
    assert score.leaked == {}


@pytest.mark.parametrize(
    ("masks", "complaint"),
    [
        (np.zeros((17, 64, 64), bool), "all are empty"),
        (np.ones((16, 64, 64), bool), r"\(17, H, W\)"),
        (np.ones((17, 32, 32), bool), "at least 64 pixels"),
        (np.ones((17, 64, 64), np.uint8), "bool"),
    ],
)
def test_other_masks_are_refused(masks, complaint):
    with pytest.raises(ValueError, match=complaint):
        judge().judge(np.zeros((17, 64, 64, 3), np.uint8), masks)


def test_its_file_is_small_and_written_again_alike(tmp_path):
    judge().save(tmp_path / "region_judge.safetensors")
    assert (tmp_path / "region_judge.safetensors").read_bytes() == WEIGHTS.read_bytes()
    assert WEIGHTS.stat().st_size < 1_000_000
