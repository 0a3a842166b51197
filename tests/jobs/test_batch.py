"""A row depends on nothing but itself; an error is a row; what is done is not made again, and what changed is."""

import json
import os
from collections.abc import Callable
from contextlib import closing
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import refilm as library
from refilm.cli.described_videos import video_lines
from refilm.errors import UserError
from refilm.generation.recipe import read_video_recipe
from refilm.generation.rerun import sampling_of
from refilm.jobs import Batch, Claims, Progress, Record, Records, batch, read_jobs
from refilm.media import Video

FEW = {"steps": 2, "frames": 5}
FIRST, SECOND = ({"prompt": prompt, **FEW} for prompt in ("a critter waits", "a critter spins"))


@pytest.fixture(scope="module")
def pipeline(tiny_base):
    return library.load(tiny_base)


@pytest.fixture
def make(tmp_path, pipeline, fox):
    """Make the videos of rows; returns the records of those that were made, in this order."""
    (tmp_path / "fox.png").write_bytes(fox.read_bytes())

    def run(*rows: dict[str, object], **options) -> list[Record]:
        (tmp_path / "jobs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        records = Records(tmp_path / "out", options.pop("model", {}))
        events = Batch(read_jobs(tmp_path / "jobs.jsonl"), records, options.pop("load", lambda: pipeline), **options)
        return [event for event in events.run() if isinstance(event, Record)]

    return run


def test_a_video_is_that_of_python_and_does_not_depend_on_other_rows(make, pipeline, tmp_path, fox):
    fox = library.Subject(name="fox", images=fox, scale=0.5, frames="0..1")
    table = {"images": ["fox.png"], "scale": 0.5, "frames": "0..1"}
    row = {**FIRST, "subjects": {"fox": table}, "seed": 3, "output": "row.png", "guidance_steps": "1-1"}
    (record,) = make(row | {"negative_reference": "fox.png"})
    assert (record.status, record.seed, len(record.files)) == ("done", 3, 5)
    alone = [(tmp_path / "out" / name).read_bytes() for name in record.files]
    video = pipeline.generate(
        FIRST["prompt"], fox, seed=3, negative_reference=tmp_path / "fox.png", guidance_steps=(1, 1), **FEW
    )
    frames = [np.asarray(Image.open(tmp_path / "out" / name)) for name in record.files]
    assert np.array_equal(frames, video.frames)
    (tmp_path / "out" / "row-000.png").unlink()
    make({**SECOND, "reference": "fox.png"}, row | {"negative_reference": "fox.png"})
    assert [(tmp_path / "out" / name).read_bytes() for name in record.files] == alone


def test_progress_is_yielded_at_every_step(pipeline, tmp_path):
    (tmp_path / "jobs.jsonl").write_text(json.dumps(FIRST))
    (job,) = jobs = read_jobs(tmp_path / "jobs.jsonl")
    first, second, record = Batch(jobs, Records(tmp_path / "out", {}), lambda: pipeline).run()
    assert [first, second] == [Progress(job, 1, 2), Progress(job, 2, 2)]
    assert record.status == "done"


def test_what_is_done_is_not_made_again_and_what_changed_is(make, tmp_path):
    def no_model():
        raise AssertionError("a model was loaded")

    rows = FIRST, SECOND
    assert [record.number for record in make(*rows)] == [1, 2]
    assert make(*rows, load=no_model) == []
    assert [record.number for record in make(FIRST, {**SECOND, "steps": 3})] == [2]
    assert [record.number for record in make(FIRST, {**SECOND, "steps": 3}, model={"base": "other"})] == [1, 2]
    (tmp_path / "out" / "0001-a-critter-waits.mp4").unlink()
    assert [record.number for record in make(FIRST, {**SECOND, "steps": 3}, model={"base": "other"})] == [1]


def test_a_png_is_done_when_all_its_frames_exist(make, tmp_path):
    row = {**FIRST, "output": "row.png"}
    (record,) = make(row)
    assert record.files == tuple(f"row-{number:03}.png" for number in range(5))
    assert make(row) == []
    (tmp_path / "out" / "row-003.png").unlink()
    assert len(make(row)) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a critter waits", "frames": 10}, "jobs.jsonl:2: 10 frames: the number must be 4k + 1"),
        ({**FIRST, "guidance_steps": "1-9"}, "jobs.jsonl:2: guidance_steps: the run has 2 steps"),
        ({**FIRST, "scale": 64, "size": "512x512"}, "pixels are too large for .mp4"),
        ({**FIRST, "reference": "nowhere.png"}, "jobs.jsonl:2: nowhere.png: no such file"),
        ({**FIRST, "reference": "jobs.jsonl"}, "jobs.jsonl: "),
        ({**FIRST, "steps": "many"}, "jobs.jsonl:2: steps: "),
    ],
)
def test_an_error_is_a_row_and_the_others_are_made(make, row, message):
    records = {record.number: record for record in make(SECOND, row, FIRST)}
    assert [records[number].status for number in (1, 2, 3)] == ["done", "failed", "done"]
    assert message in records[2].error


def test_invalid_rows_are_known_before_the_first_video(make):
    assert [record.number for record in make(FIRST, {"prompt": "a", "frames": 10}, {"steps": 2})] == [2, 3, 1]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("no memory\nfor 9 GiB"),
        MemoryError("9 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        OSError(5, "Input/output error"),
    ],
)
def test_an_error_of_the_machine_is_a_row_too(make, monkeypatch, error):
    broken_at(monkeypatch, "sample", error)
    records = make(FIRST, SECOND)
    assert [record.status for record in records] == ["failed", "done"]
    text = " ".join(str(error).split())
    assert records[0].error.endswith(f"jobs.jsonl:1: {type(error).__name__}: {text}")


def broken_at(monkeypatch, name: str, error: BaseException, of: type = library.Pipeline) -> None:
    """Make the first call of a method of the pipeline, or of another class, raise an error."""
    original, errors = getattr(of, name), [error]

    def broken(*given, **named):
        if errors:
            raise errors.pop()
        return original(*given, **named)

    monkeypatch.setattr(of, name, broken)


def test_a_bug_ends_the_process_but_is_recorded_for_others(make, monkeypatch, tmp_path):
    broken_at(monkeypatch, "decode", RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        make(FIRST, SECOND)
    record = json.loads((tmp_path / "out" / ".jobs" / "0001-a-critter-waits.mp4.json").read_text())
    assert record["error"].endswith("jobs.jsonl:1: RuntimeError: a bug")


def test_a_failed_row_is_tried_again_by_the_next_run_only(make, monkeypatch):
    broken_at(monkeypatch, "sample", UserError("once"))
    assert [record.status for record in make(FIRST, SECOND)] == ["failed", "done"]
    assert [record.status for record in make(FIRST, SECOND)] == ["done"]


@pytest.mark.parametrize(("where", "name"), [(Video, "save"), (batch, "save_state")])
def test_a_full_disk_stops_the_run(make, monkeypatch, tmp_path, where, name):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "row.mp4")

    monkeypatch.setattr(where, name, full)
    with pytest.raises(OSError, match="No space left"):
        make(FIRST, SECOND, save_state_every=1)
    assert not list((tmp_path / "out" / ".jobs").glob("*.json"))


def test_a_folder_in_the_place_of_a_video_is_an_error_of_its_row(make, tmp_path):
    (tmp_path / "out" / "one.mp4").mkdir(parents=True)
    records = make({**FIRST, "output": "one.mp4"}, {**SECOND, "output": "two.mp4"})
    assert [record.status for record in records] == ["failed", "done"]
    assert records[0].error.endswith("one.mp4: is a folder; use a file name")
    assert not (tmp_path / "out" / "one.mp4.json").exists()


@pytest.mark.parametrize("error", [OSError(27, "File too large", "row.mp4"), UserError("row.mp4: is gone")])
def test_an_error_while_a_video_is_written_is_one_of_its_row(make, monkeypatch, tmp_path, error):
    broken_at(monkeypatch, "save", error, of=Video)
    records = make({**FIRST, "output": "one.mp4"}, {**SECOND, "output": "two.mp4"})
    assert [record.status for record in records] == ["failed", "done"]
    assert not (tmp_path / "out" / "one.mp4.json").exists()  # a recipe without its video
    assert [record.status for record in make({**FIRST, "output": "one.mp4"})] == ["done"]


@pytest.mark.parametrize(
    ("output", "name"), [("two.mp4", "two.mp4"), ("two.mp4", "two.mp4.json"), ("two.png", "two-0001.png")]
)
def test_a_file_that_the_list_did_not_make_is_kept(make, tmp_path, output, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    for _ in range(2):  # its record does not make it the list's own
        records = make(FIRST, {**SECOND, "output": output})
        assert records[0].error.endswith(
            f"{name}: exists, and was not made from this list; remove it, or choose another output"
        )
        assert (tmp_path / "out" / name).read_text() == "mine"
    (tmp_path / "out" / name).unlink()
    assert [record.status for record in make(FIRST, {**SECOND, "output": output})] == ["done"]


def test_a_file_that_appears_while_a_row_is_made_is_kept(make, monkeypatch, tmp_path):
    decode, path = library.Pipeline.decode, tmp_path / "out" / "row.mp4"

    def slow(*given):
        path.write_text("mine")
        return decode(*given)

    monkeypatch.setattr(library.Pipeline, "decode", slow)
    (record,) = make({**FIRST, "output": "row.mp4"})
    assert "exists, and was not made from this list" in record.error
    assert path.read_text() == "mine"


def test_the_video_of_another_list_is_kept(make, tmp_path, pipeline):
    make({**FIRST, "output": "row.mp4"})
    before = (tmp_path / "out" / "row.mp4").read_bytes()
    (tmp_path / "other.jsonl").write_text(json.dumps({**SECOND, "output": "row.mp4"}))
    jobs = read_jobs(tmp_path / "other.jsonl")
    *_, record = Batch(jobs, Records(tmp_path / "out", {}), lambda: pipeline).run()
    assert "row.mp4: exists, and was not made from this list" in record.error
    assert (tmp_path / "out" / "row.mp4").read_bytes() == before


def test_a_video_whose_process_was_killed_before_it_wrote_the_record_is_the_lists_own(make, monkeypatch, tmp_path):
    row = {**FIRST, "output": "row.mp4"}
    broken_at(monkeypatch, "write", KeyboardInterrupt(), of=Records)
    with pytest.raises(KeyboardInterrupt):
        make(row)
    assert (tmp_path / "out" / "row.mp4").is_file()
    assert not list((tmp_path / "out" / ".jobs").glob("*.json"))
    assert [record.status for record in make({**row, "steps": 1})] == ["done"]


def test_a_row_that_failed_meanwhile_replaces_its_earlier_video(make, tmp_path):
    row = {**FIRST, "output": "row.mp4"}
    make(row)
    assert [record.status for record in make({**row, "frames": 10})] == ["failed"]
    assert [record.status for record in make({**row, "steps": 1})] == ["done"]
    assert read_video_recipe(tmp_path / "out" / "row.mp4").settings.steps == 1


def test_invalid_rows_do_not_wait_for_the_disk(make, monkeypatch, tmp_path):
    """There can be thousands."""

    def slow(descriptor):
        raise AssertionError("fsync")

    monkeypatch.setattr(os, "fsync", slow)
    assert [record.status for record in make(*[{**FIRST, "reference": "nowhere.png"}] * 3)] == ["failed"] * 3
    files = sorted(path.name for path in (tmp_path / "out" / ".jobs").iterdir())
    assert files == [f"000{number}.mp4.json" for number in (1, 2, 3)]


def test_a_record_that_a_power_failure_left_empty_is_none(make, tmp_path):
    make({**FIRST, "frames": 10})
    (path,) = (tmp_path / "out" / ".jobs").glob("*.json")
    path.write_bytes(b"")
    assert [record.status for record in make({**FIRST, "frames": 10})] == ["failed"]


def test_an_image_that_changes_while_it_is_used_makes_the_row_again(make, monkeypatch, tmp_path):
    decode, row = library.Pipeline.decode, {**FIRST, "reference": "fox.png"}

    def changing(*given):
        Image.new("RGB", (64, 64), "red").save(tmp_path / "fox.png")
        return decode(*given)

    monkeypatch.setattr(library.Pipeline, "decode", changing)
    assert len(make(row)) == 1
    monkeypatch.setattr(library.Pipeline, "decode", decode)
    assert len(make(row)) == 1
    assert make(row) == []


def test_a_process_that_lost_its_row_discards_the_video(make, monkeypatch, tmp_path, caplog):
    """It seems to be dead to another process, which takes the row and makes it."""
    monkeypatch.setattr(batch, "PAUSE", 0)
    claims = Claims(tmp_path / "out" / ".jobs")
    decode, theirs = library.Pipeline.decode, []

    def slow(*given):
        if not theirs:
            theirs.append(None)
            (claim,) = claims.folder.glob("*.claim-0")
            claim.write_text("{}")
            stale = Claims(claims.folder, stale_after=-1)
            theirs.extend(make(FIRST, claims=stale))
        return decode(*given)

    monkeypatch.setattr(library.Pipeline, "decode", slow)
    assert make(FIRST, claims=claims) == []
    assert [record.status for record in theirs[1:]] == ["done"]
    assert "this process was stopped for long, another one makes the video" in caplog.text


def test_a_row_that_another_process_has_is_waited_for(make, monkeypatch, tmp_path):
    monkeypatch.setattr(batch, "PAUSE", 0)
    (folder := tmp_path / "out" / ".jobs").mkdir(parents=True)
    claims = Claims(folder)
    with claims.taken("0001-a-critter-waits.mp4"):
        monkeypatch.setattr(batch.time, "sleep", lambda seconds: make(FIRST))  # it is made without a claim
        assert [record.number for record in make(FIRST, SECOND, claims=claims)] == [2]


class Late(Claims):
    """Claims that are taken just after another process has made the row and released its claim."""

    def __init__(self, folder: Path, others: Callable[[], object]):
        super().__init__(folder)
        self.others = others

    def taken(self, name: str):
        self.others()
        return super().taken(name)


def test_a_row_that_ended_just_before_it_was_claimed_is_not_made_again(make, tmp_path):
    (folder := tmp_path / "out" / ".jobs").mkdir(parents=True)
    assert make(FIRST, claims=Late(folder, lambda: make(FIRST, claims=Claims(folder)))) == []


def test_a_row_that_fails_in_another_process_is_not_tried_again_here(make, tmp_path):
    (folder := tmp_path / "out" / ".jobs").mkdir(parents=True)
    bad = {**FIRST, "frames": 10}
    assert [record.status for record in make(bad, claims=Claims(folder))] == ["failed"]
    late = Late(folder, lambda: make(bad, claims=Claims(folder)))  # tries it again
    assert make(bad, claims=late) == []


def test_the_report_has_every_row_whichever_process_writes_it_last(make, monkeypatch, tmp_path):
    """A row ends while the report is written."""
    make(FIRST)
    (tmp_path / "jobs.jsonl").write_text(f"{json.dumps(FIRST)}\n{json.dumps(SECOND)}\n")
    jobs, records = read_jobs(tmp_path / "jobs.jsonl"), Records(tmp_path / "out", {})
    assert [record.status for record in records.write_report(jobs)] == ["done", "open"]
    from refilm.jobs import records as module

    write = module.write_text

    def slow(path: Path, text: str) -> None:
        monkeypatch.setattr(module, "write_text", write)
        make(FIRST, SECOND)
        write(path, text)

    monkeypatch.setattr(module, "write_text", slow)
    assert [record.status for record in records.write_report(jobs)] == ["done", "done"]
    lines = (tmp_path / "out" / "report.jsonl").read_text().splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["done", "done"]


def test_a_damaged_record_is_named(make, tmp_path):
    make(FIRST)
    (path := tmp_path / "out" / ".jobs" / "0001-a-critter-waits.mp4.json").write_text("{")
    with pytest.raises(UserError, match="remove it to make the video again") as error:
        make(FIRST)
    assert str(path) in str(error.value)


def test_a_killed_row_goes_on_from_its_state(make, monkeypatch, tmp_path, pipeline):
    row = {**FIRST, "steps": 4, "output": "row.gif", "step_cache": 0.1, "guidance": 3.0}
    make(row)
    whole = (tmp_path / "out" / "row.gif").read_bytes()
    (tmp_path / "out" / "row.gif").unlink()

    def steps(until: int = 5) -> list[int]:
        batch = Batch(
            read_jobs(tmp_path / "jobs.jsonl"), Records(tmp_path / "out", {}), lambda: pipeline, save_state_every=2
        )
        with closing(batch.run()) as events:
            numbers = (event.step for event in events if isinstance(event, Progress))
            return [*takewhile(lambda step: step < until, numbers)]

    broken_at(monkeypatch, "decode", RuntimeError("as if it was killed"))
    with pytest.raises(RuntimeError):
        steps()
    assert steps(until=4) == [3]  # the caller stops at step 4
    broken_at(monkeypatch, "decode", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        assert steps() == []
    assert steps() == []
    assert (tmp_path / "out" / "row.gif").read_bytes() == whole
    assert not list((tmp_path / "out" / ".jobs").glob("*.state"))

    (tmp_path / "out" / "row.gif").unlink()
    assert steps(until=2) == [1]
    assert make({**row, "seed": 5})[0].seed == 5  # the state of another video is not used
    assert (tmp_path / "out" / "row.gif").read_bytes() != whole


def test_a_row_that_kills_its_processes_comes_last(make, tmp_path):
    rows = [{**FIRST, "output": f"{name}.gif"} for name in ("deadly", "fine")]
    folder = Records(tmp_path / "out", {}).folder
    for number in (0, 1):
        dead = {"machine": "another", "pid": 1, "started": "1"}
        (claim := folder / f"deadly.gif.claim-{number}").write_text(json.dumps(dead))
        os.utime(claim, (1, 1))
    assert [record.output for record in make(*rows, claims=Claims(folder))] == ["fine.gif", "deadly.gif"]


def test_a_video_carries_its_recipe_without_the_time(make, tmp_path, pipeline):
    (record,) = make({**FIRST, "reference": "fox.png", "scale": 2})
    path = tmp_path / "out" / record.output
    recipe = read_video_recipe(path)
    assert (recipe.seed, recipe.scale, recipe.made.date, recipe.made.seconds) == (record.seed, 2, None, None)
    assert recipe.subjects[0].images[0].path == str(tmp_path / "fox.png")
    (again,) = pipeline.finish(sampling_of(pipeline, [recipe]))
    (row,) = make({**FIRST, "reference": "fox.png", "seed": record.seed, "output": "row.png"}, metadata=False)
    frames = [np.asarray(Image.open(tmp_path / "out" / name)) for name in row.files]
    assert np.array_equal(frames, again.frames)
    with pytest.raises(UserError, match="contains no recipe"):
        read_video_recipe(tmp_path / "out" / "row-000.png")
    assert f"made: refilm {recipe.made.refilm}, " in "\n".join(video_lines(path))


def test_a_run_that_is_closed_releases_its_row(tmp_path, pipeline):
    (tmp_path / "jobs.jsonl").write_text(json.dumps(FIRST))
    jobs, records = read_jobs(tmp_path / "jobs.jsonl"), Records(tmp_path / "out", {})
    claims = Claims(records.folder)
    with closing(Batch(jobs, records, lambda: pipeline, claims=claims).run()) as events:
        next(events)
        with claims.taken(jobs[0].output) as claim:
            assert claim is None
    with claims.taken(jobs[0].output) as claim:
        assert claim is not None
