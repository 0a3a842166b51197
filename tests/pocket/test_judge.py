"""The judge, on real held-out clips that its training never used."""

from functools import cache

import numpy as np
import pytest

from refilm.data import critters
from refilm.pocket.judge import ATTRIBUTES, WEIGHTS, Judge, Judgement

from .worsening import blurred, noisy, shifted

COUNT = 60


@cache
def judge() -> Judge:
    return Judge.load(WEIGHTS)


@cache
def clips(size: int = 32) -> tuple[list[np.ndarray], list[Judgement]]:
    stories = [critters.story(123, index, "held_out") for index in range(COUNT)]
    videos = [critters.render(s, np.random.default_rng((123, i)), size=size) for i, s in enumerate(stories)]
    return videos, [Judgement.of(story) for story in stories]


def accuracies(videos: list[np.ndarray], truths: list[Judgement]) -> dict[str, float]:
    hits = [seen.matches(truth) for seen, truth in zip(judge().judge(videos), truths, strict=True)]
    return {name: float(np.mean([hit[name] for hit in hits])) for name in ATTRIBUTES}


def test_it_classifies_real_clips():
    assert min(accuracies(*clips()).values()) >= 0.9


def test_its_accuracy_falls_to_chance_against_other_stories():
    videos, truths = clips()
    for name, accuracy in accuracies(videos, truths[7:] + truths[:7]).items():
        assert accuracy < 3 / len(ATTRIBUTES[name]), name


@pytest.mark.parametrize("worsen", [blurred, shifted, noisy], ids=lambda worsen: worsen.__name__)
def test_it_tolerates_the_errors_of_a_small_generator(worsen):
    videos, truths = clips()
    worn = accuracies([worsen(video) for video in videos], truths)
    assert min(worn.values()) >= 0.8, worn


def test_a_video_of_64_pixels_is_judged_at_32():
    videos, truths = clips(size=64)
    assert min(accuracies(videos[:30], truths[:30]).values()) >= 0.85


def test_the_motion_is_recognized_in_a_part_of_a_clip():
    videos, truths = clips()
    assert accuracies([video[4:13] for video in videos], truths)["motion"] >= 0.9


@pytest.mark.parametrize("worsen", [shifted, blurred, noisy], ids=lambda worsen: worsen.__name__)
def test_a_still_has_no_motion(worsen):
    videos, _ = clips()
    judgements = judge().judge([worsen(np.repeat(video[8:9], 17, axis=0)) for video in videos[:30]])
    assert np.mean([one.motion == "waits" for one in judgements]) >= 0.9


def test_a_reversed_video_moves_the_other_way():
    opposite = {"moves left": "moves right", "rises": "falls", "grows": "shrinks"}
    opposite |= {there: here for here, there in opposite.items()}
    chosen = [(video, truth.motion) for video, truth in zip(*clips(), strict=True) if truth.motion in opposite]
    judgements = judge().judge([video[::-1] for video, _ in chosen])
    hits = [seen.motion == opposite[motion] for seen, (_, motion) in zip(judgements, chosen, strict=True)]
    assert np.mean(hits) >= 0.9


def test_saving_writes_the_same_file(tmp_path):
    judge().save(tmp_path / "judge.safetensors")
    assert (tmp_path / "judge.safetensors").read_bytes() == WEIGHTS.read_bytes()
    assert WEIGHTS.stat().st_size < 2**20


@pytest.mark.parametrize(
    ("video", "complaint"),
    [
        (np.zeros((8, 32, 32, 3), np.uint8), "at least 9 frames"),
        (np.zeros((17, 16, 16, 3), np.uint8), "at least 32 pixels"),
        (np.zeros((17, 32, 48, 3), np.uint8), "square"),
        (np.zeros((17, 32, 32, 3), np.float32), "uint8"),
        (np.zeros((17, 3, 32, 32), np.uint8), r"\(F, H, W, 3\)"),
    ],
)
def test_other_videos_are_refused(video, complaint):
    with pytest.raises(ValueError, match=complaint):
        judge().judge([video])


def test_a_file_that_is_no_judge_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        Judge.load(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"not weights")
    with pytest.raises(ValueError, match="not the weights of this version's judge"):
        Judge.load(tmp_path / "bad.safetensors")
