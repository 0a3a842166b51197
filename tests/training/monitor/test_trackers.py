"""Logs of a run, read back by TensorBoard and other trackers."""

import json
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from refilm.media import Video
from refilm.training.engine.loop import Progress
from refilm.training.monitor.trackers import Trackers, open_tracker


def steps(first: int, last: int, loss: float) -> list[Progress]:
    return [
        Progress(step, 10, loss * step, seconds=0.5, details={"gradient_norm": 0.1}) for step in range(first, last + 1)
    ]


def read(folder) -> EventAccumulator:
    events = EventAccumulator(str(folder / "logs"), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    return events


def test_a_resumed_run_continues_the_record_without_doubled_steps(tmp_path):
    with Trackers(tmp_path) as records:
        for progress in steps(1, 6, loss=1.0):
            records.write(progress)
    time.sleep(1.1)  # TensorBoard orders files by the second in their names, and no run goes on within the same one
    with Trackers(tmp_path, step=4) as records:  # the checkpoint was of step 4
        for progress in steps(5, 8, loss=2.0):
            records.write(progress)
    scalars = read(tmp_path).Scalars("train/loss")
    assert [scalar.step for scalar in scalars] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [scalar.value for scalar in scalars] == [1, 2, 3, 4, 10, 12, 14, 16]


def test_scores_words_and_videos_are_there(tmp_path):
    frames = np.zeros((5, 16, 24, 3), np.uint8)
    frames[:] = (250, 10, 10)  # one color, which the encoder stores alike in every frame
    frames[3] = 255
    (video,) = Video(frames, 8).save(tmp_path / "video.mp4", scale=1)
    with Trackers(tmp_path) as records:
        records.write(
            Progress(3, 10, 0.1, 0.5, scores={"right": 0.25, "gap/q1": 0.5}, videos=(video,), words="it is used")
        )
    events = read(tmp_path)
    assert events.Scalars("validation/right")[0].value == 0.25
    assert events.Scalars("validation/gap/q1")[0].step == 3
    assert b"it is used" in events.Tensors("validation/words/text_summary")[0].tensor_proto.string_val[0]
    (image,) = events.Images("videos/1")
    assert (image.width, image.height, image.step) == (24, 16, 3)
    (tmp_path / "video.gif").write_bytes(image.encoded_image_string)
    with Image.open(tmp_path / "video.gif") as gif:
        assert (gif.format, gif.n_frames) == ("GIF", 3)  # equal frames are one, shown longer
        gif.seek(1)
        assert np.asarray(gif.convert("RGB")).min() > 230


def test_trackio_gets_each_step_once(tmp_path, monkeypatch):
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path / "trackio")
    for start, end in ((1, 6), (5, 8)):
        tracker = open_tracker("trackio", run="fox-12", config={"seed": 3})
        with Trackers(tmp_path, step=start - 1, tracker=tracker) as records:
            for progress in steps(start, end, loss=1.0):
                records.write(progress)
    logs = SQLiteStorage.get_logs("refilm", "fox-12")
    assert [log["step"] for log in logs] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [log["train/loss"] for log in logs] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert trackio.__version__


def test_wandb_gets_the_same_metrics(tmp_path, monkeypatch):
    told = []

    def init(**settings):
        told.append(settings)
        return SimpleNamespace(
            log=lambda metrics, step: told.append((step, metrics["train/loss"])), finish=lambda: told.append("finished")
        )

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    with Trackers(tmp_path, tracker=open_tracker("wandb", run="fox-12", config={"seed": 3})) as records:
        for progress in steps(1, 2, loss=1.0):
            records.write(progress)
    settings = {"project": "refilm", "id": "fox-12", "name": "fox-12", "config": {"seed": 3}, "resume": "allow"}
    assert told == [settings, (1, 1.0), (2, 2.0), "finished"]
    assert json.loads((tmp_path / "logs" / "tracked").read_text()) == 2


def test_a_tracker_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"--log-with wandb: is not installed; .* pip install refilm\[wandb\]"):
        open_tracker("wandb", run="fox", config={})


def test_a_tracker_that_cannot_start_is_a_one_line_error(monkeypatch):
    def init(**settings):
        raise RuntimeError("no API key")  # wandb's own errors are no ImportErrors

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    with pytest.raises(ValueError, match="--log-with wandb: cannot start: no API key; fix that, or remove the option"):
        open_tracker("wandb", run="fox", config={})


def test_other_files_among_the_events_do_no_harm(tmp_path):
    (tmp_path / "logs").mkdir()
    for name in ("events.out.tfevents.mine", "notes.txt"):
        (tmp_path / "logs" / name).touch()
    with Trackers(tmp_path) as records:
        records.write(steps(1, 1, loss=1.0)[0])
    assert read(tmp_path).Scalars("train/loss")[0].step == 1
