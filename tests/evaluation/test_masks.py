"""Masks beside videos and images, and how they reach the metrics."""

import json
from types import MappingProxyType

import numpy as np
import pytest
from PIL import Image

from refilm.errors import UserError
from refilm.evaluation.answer import Answer
from refilm.evaluation.case import Case, Sample
from refilm.evaluation.collecting import Videos
from refilm.evaluation.evaluating import metrics_of
from refilm.evaluation.masks import mask_file, read_masks
from refilm.evaluation.metric import Column
from refilm.evaluation.scoring import Scorer
from refilm.evaluation.suites.dreambooth_video import DreamboothVideo
from refilm.media import Video

FRAMES = np.zeros((5, 32, 48, 3), np.uint8)


@pytest.fixture
def video(tmp_path):
    Video(FRAMES, 8).save(path := tmp_path / "case.mp4")
    return path


def white(rows: int) -> np.ndarray:
    mask = np.zeros((32, 48), np.uint8)
    mask[:rows] = 255
    return mask


class Covered:
    """The fraction of the video and of the image that masks cover."""

    columns = (Column("video", "Covered.", 0), Column("image", "Covered.", 0))
    identity = MappingProxyType({})

    def score(self, sample: Sample):
        (image,) = sample.subject_masks
        assert sample.masks is None or sample.masks.dtype == bool
        return {
            "video": 0.0 if sample.masks is None else [float(mask.mean()) for mask in sample.masks],
            "image": 0.0 if image is None else float(image.mean()),
        }


def scored(tmp_path, video):
    Image.new("RGB", (8, 4)).save(tmp_path / "fox.png")
    scorer = Scorer({"covered_segment": Covered()}, tmp_path / "out")
    return scorer.score(Answer(Case("case", "", (tmp_path / "fox.png",)), video)).scores


def test_masks_reach_the_metrics_and_new_ones_are_noticed(tmp_path, video):
    assert scored(tmp_path, video) == {"video": 0, "image": 0}
    Image.fromarray(white(8)).save(tmp_path / "case.mask.png")
    assert scored(tmp_path, video) == {"video": 0.25, "image": 0}
    Image.fromarray(np.uint8([[255] * 8, *[[0] * 8] * 3])).save(tmp_path / "fox.mask.png")
    assert scored(tmp_path, video) == {"video": 0.25, "image": 0.25}


def test_a_mask_may_move(tmp_path, video):
    moving = np.stack([white(8 * (1 + (i > 2))) for i in range(5)])
    Video(np.repeat(moving[..., None], 3, axis=3), 8).save(tmp_path / "case.mask.mp4")
    masks = read_masks(mask_file(video), FRAMES.shape[:3])
    assert masks.shape == (5, 32, 48)
    assert masks.mean((1, 2)).tolist() == pytest.approx([0.25] * 3 + [0.5] * 2, abs=0.02)


@pytest.mark.parametrize("shape", [(5, 32, 40), (5, 30, 48)])
def test_masks_of_another_shape_are_refused(tmp_path, shape):
    Image.fromarray(white(8)).save(tmp_path / "case.mask.png")
    with pytest.raises(
        UserError, match=r"case\.mask\.png: has 1 frames of 48 x 32, but what it belongs to 5 frames of"
    ):
        read_masks(tmp_path / "case.mask.png", shape)


def test_too_few_masks_are_refused(tmp_path):
    Video(np.zeros((4, 64, 96, 3), np.uint8), 8).save(path := tmp_path / "case.mask.mp4")
    with pytest.raises(UserError, match="has 4 frames of "):
        read_masks(path, (5, 64, 96))


def test_masks_beside_listed_videos_are_seen_in_any_folder(tmp_path, video):
    (tmp_path / "deep").mkdir()
    for name in ("case.mp4", "case.mask.png"):
        Image.fromarray(white(8)).save(tmp_path / "case.mask.png")
        (tmp_path / name).rename(tmp_path / "deep" / name)
    rows = [{"case": "a", "file": "deep/case.mp4"}, {"case": "b", "file": "x" * 4000}, {"case": "c", "file": "a\0"}]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert Videos(tmp_path / "list.jsonl").masks
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows[1:])))
    assert not Videos(tmp_path / "list.jsonl").masks


def test_segments_are_absent_without_masks(tmp_path, video):
    assert not Videos(tmp_path).masks
    suite = type("Suite", (DreamboothVideo,), {"metrics": ("efficientnet_i_segment", "motion")})(tmp_path)
    _, records = metrics_of(suite, "cpu", masks=False)
    assert "there are no masks of the subject; save CASE.mask.mp4" in records["efficientnet_i_segment"].absent
    assert records["motion"].absent is None
    Image.fromarray(white(8)).save(tmp_path / "case.mask.png")
    assert Videos(tmp_path).masks
    assert metrics_of(suite, "cpu", masks=True)[1]["efficientnet_i_segment"].absent is None
