"""How a run starts: as it began, alone in its folder, and with nothing written before all of it is known to work."""

import json
import re
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from refilm.data.encoding import EncodeSettings
from refilm.recipes import read_recipe
from refilm.training.checkpoint.checkpoints import checkpoints, load_checkpoint, save_checkpoint
from refilm.training.engine.loop import Progress, make_trainer
from refilm.training.run import LOCK, train
from refilm.training.settings import OF_BASE

from ..tiny_recipe import write_recipe

SHORT = {"loop.steps": 2, "loop.save_every": 1, "loop.keep": 2, "diffusion.validation.samples": 8}


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("clips") / "cache"


@pytest.fixture
def recipe(tiny_base, cache, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_recipe(tmp_path / "tiny.toml", base=tiny_base, cache=cache)


@pytest.fixture
def trained(recipe, tmp_path_factory, request) -> Path:
    """The folder of a run of two steps, made once."""
    made = request.config.stash.setdefault(RUN, tmp_path_factory.mktemp("made") / "run")
    if not made.exists():
        done(steps_of(recipe, made, changes=SHORT))
    return shutil.copytree(made, recipe.parent / "run")


RUN = pytest.StashKey[Path]()


def steps_of(recipe: Path, folder: Path, changes=None, **how):
    """The steps of a run, without its other events."""
    with closing(train(read_recipe(recipe, changes), folder, **how)) as events:
        yield from (event for event in events if isinstance(event, Progress))


def done(steps) -> list[int]:
    return [progress.step for progress in steps]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def goes_on(recipe: Path, run: Path, allow=(), **changes) -> list[int]:
    changes = {name.replace("__", "."): value for name, value in changes.items()}
    return done(steps_of(recipe, run, resume=True, changes={**SHORT, "loop.steps": 3, **changes}, allow_changes=allow))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"query_norm": False}, r"query_norm was true, now it is false: .* --allow-change query_norm"),
        ({"diffusion__seed": 7}, r"diffusion\.seed was 0, now it is 7"),
        ({"loop__optimizer__learning_rate": 0.1}, r"loop\.optimizer\.learning_rate was 0\.002, now it is 0\.1"),
        ({"loop__precision": "bf16"}, r'loop\.precision was "auto", now it is "bf16"'),
        ({"train__lora": {"rank": 2}}, r"train\.lora\.rank was not set, now it is 2"),
        ({"data__encode": {"fps": 4.0}}, r"data\.encode\.fps was not set, now it is 4\.0"),
        ({"data__encode": {"buckets": True}}, r"data\.encode\.buckets was false, now it is true"),
        ({"data__encode": {"views": {"flip": True}}}, r"data\.encode\.views\.flip was false, now it is true"),
        ({"loop__steps": 3, "hidden_state": "last"}, r'hidden_state was "penultimate", now it is "last"'),
    ],
)
def test_a_changed_recipe_is_refused_and_nothing_is_written(recipe, trained, changes, words):
    before = contents(trained)
    with pytest.raises(ValueError, match=rf"run\.json: {words}"):
        goes_on(recipe, trained, **changes)
    assert contents(trained) == before


def test_what_changes_no_step_may_change_and_is_recorded(recipe, trained):
    free = {"loop__save_every": 2, "out": "elsewhere", "diffusion__checkpointing": "full", "videos": {"seed": 3}}
    assert goes_on(recipe, trained, **free) == [3]
    part = json.loads((trained / "run.json").read_text())["parts"][-1]
    assert part["changes"] == {
        "loop.steps": [2, 3],
        "loop.save_every": [1, 2],
        "out": ["adapter", "elsewhere"],
        "diffusion.checkpointing": ["none", "full"],
        "videos.seed": [0, 3],
    }


def test_a_default_that_is_now_given_is_no_change(recipe, trained):
    given = EncodeSettings().model_dump(mode="json", exclude_none=True, exclude=set(OF_BASE))
    assert goes_on(recipe, trained, data__encode=given) == [3]
    part = json.loads((trained / "run.json").read_text())["parts"][-1]
    assert part["changes"] == {"loop.steps": [2, 3]}
    assert goes_on(recipe, trained, loop__steps=4) == [4]


def test_a_change_may_be_allowed_by_name_and_is_recorded(recipe, trained):
    assert goes_on(recipe, trained, ["loop.optimizer"], loop__optimizer__weight_decay=0.5) == [3]
    run_record = json.loads((trained / "run.json").read_text())
    assert run_record["parts"][-1]["changes"]["loop.optimizer.weight_decay"] == [0.01, 0.5]
    assert run_record["parts"][0]["changes"] == {}
    assert run_record["recipe"]["loop"]["optimizer"]["weight_decay"] == 0.5
    with pytest.raises(ValueError, match=r"--allow-change loop\.optimiser: .* did you mean loop\.optimizer\?"):
        goes_on(recipe, trained, ["loop.optimiser"])


def test_other_clips_are_refused_wherever_they_are(recipe, trained, cache, tmp_path):
    shutil.copytree(cache, tmp_path / "moved")
    assert goes_on(recipe, trained, data__cache=str(tmp_path / "moved")) == [3]
    before = contents(trained)
    swapped = tmp_path / "swapped"
    swapped.mkdir()
    for name, other in (("train", "held_out"), ("held_out", "train")):
        shutil.copytree(cache / other, swapped / name)
    lone = {"data": {"cache": str(swapped / "train"), "held_out": str(swapped / "held_out")}}
    allowed = ["data.clips", "data.held_out_clips"]
    with pytest.raises(ValueError, match=r"data\.train\.identity was \"\w+\", now it is \"\w+\""):
        goes_on(recipe, trained, allowed, loop__steps=4, **lone)
    assert contents(trained) == before
    assert goes_on(recipe, trained, ["data"], loop__steps=4, **lone) == [4]


def test_a_run_of_an_older_version_can_be_resumed(recipe, trained):
    run_record = json.loads((trained / "run.json").read_text())
    for part in run_record["parts"]:
        del part["changes"]  # which 0.1 did not have,
    del run_record["recipe"]["videos"]["every"]  # as it had not whatever came later
    (trained / "run.json").write_text(json.dumps(run_record))
    (trained / LOCK).unlink()
    assert goes_on(recipe, trained) == [3]
    (trained / "run.json").unlink()
    with pytest.raises(ValueError, match=r"run\.json: no such file; restore it"):
        goes_on(recipe, trained, loop__steps=4)


def test_a_damaged_checkpoint_and_a_missing_tracker_leave_the_records_alone(recipe, trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    before = contents(trained)
    with pytest.raises(ValueError, match="--log-with wandb: is not installed"):
        done(steps_of(recipe, trained, resume=True, changes={**SHORT, "loop.steps": 3}, log_with="wandb"))
    assert contents(trained) == before
    with (checkpoints(trained)[-1] / "state.pt").open("ab") as file:
        file.write(b"x")
    before = contents(trained)
    with pytest.raises(ValueError, match="is damaged"):
        goes_on(recipe, trained)
    assert contents(trained) == before


@pytest.mark.parametrize(("small", "large"), [(1, 8), (4, 8)])
def test_a_weight_of_another_shape_is_never_spread(recipe, trained, tmp_path, small, large):
    """`copy_` would repeat the one row of a LoRA of rank 1 eight times."""
    task, other = (read_recipe(recipe, {"train.lora": {"rank": rank}}).task() for rank in (small, large))
    loop = read_recipe(recipe, SHORT).loop
    made = make_trainer(task, loop, tmp_path / "lora")
    save_checkpoint(tmp_path / "lora", 1, made.state())
    with pytest.raises(ValueError, match=rf"lora_A\S+ has shape \({small}, \d+\) in the saved run, \({large}, \d+\)"):
        make_trainer(other, loop, tmp_path / "lora", resume=True)


def test_a_second_process_gets_an_error_and_writes_nothing(recipe, trained):
    steps = steps_of(recipe, trained, resume=True, changes={**SHORT, "loop.steps": 4})
    assert next(steps).step == 3
    before = contents(trained)
    second = "from refilm.cli import main; main()"
    words = ["train", str(recipe), "--run", str(trained), "--resume"]
    result = subprocess.run([sys.executable, "-c", second, *words], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == (
        f"error: {trained}: another process trains in this folder; wait until it ends, or choose another --run folder\n"
    )
    assert contents(trained) == before
    assert done(steps) == [4]
    assert goes_on(recipe, trained, loop__steps=5) == [5]


def test_a_refused_run_leaves_no_folder(recipe, tmp_path):
    with pytest.raises(ValueError, match="no checkpoint to resume from"):
        goes_on(recipe, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_anew_with_records_of_its_own(recipe, tmp_path):
    run, late = tmp_path / "run", {**SHORT, "loop.steps": 4, "loop.save_every": 100}
    steps = steps_of(recipe, run, changes=late)
    assert [next(steps).step for _ in range(3)] == [1, 2, 3]
    steps.close()
    (run / "videos").mkdir()
    (run / "videos" / "step-00000003-1.mp4").touch()
    assert done(steps_of(recipe, run, changes={**late, "diffusion.seed": 5})) == [1, 2, 3, 4]
    events = EventAccumulator(str(run / "logs"), size_guidance={"scalars": 0})
    events.Reload()
    scalars = events.Scalars("train/loss")
    assert [scalar.step for scalar in scalars] == [1, 2, 3, 4]
    again = tmp_path / "again"
    assert done(steps_of(recipe, again, changes={**late, "diffusion.seed": 5})) == [1, 2, 3, 4]
    others = EventAccumulator(str(again / "logs"), size_guidance={"scalars": 0})
    others.Reload()
    assert [scalar.value for scalar in scalars] == [scalar.value for scalar in others.Scalars("train/loss")]
    assert not list((run / "videos").iterdir())
    assert len(json.loads((run / "run.json").read_text())["parts"]) == 1


def test_allowed_changes_resume_from_the_checkpoint(recipe, trained):
    before = load_checkpoint(trained)["weights"]
    goes_on(recipe, trained, ["loop.optimizer"], loop__optimizer__learning_rate=1e-12, loop__optimizer__ema=0.0)
    after = load_checkpoint(trained)["weights"]
    name = next(name for name in before if name.endswith("projection.weight"))
    assert torch.allclose(before[name], after[name], atol=1e-3)


def test_a_full_disk_for_logs_and_videos_is_reported_once_and_the_run_continues(recipe, tmp_path, caplog):
    run = tmp_path / "run"
    videos = {"prompts": ["a critter waits", "a critter hops"], "steps": 1}
    steps = steps_of(recipe, run, changes={**SHORT, "loop.steps": 5, "loop.validate_every": 1, "videos": videos})
    assert next(steps).videos
    (events,) = (run / "logs").glob("events*")
    events.rename(tmp_path / "before")
    events.symlink_to("/dev/full")
    shutil.rmtree(run / "videos")
    (run / "videos").touch()
    assert done(steps) == [2, 3, 4, 5]
    told = [record.getMessage() for record in caplog.records if "continues without" in record.getMessage()]
    assert len(told) == 2
    assert "videos: File exists; the run continues without some of its videos" in told[0]
    assert told[1].startswith(str(events))
    assert told[1].endswith("No space left on device; the run continues without some of its logs")
    assert [path.name for path in checkpoints(run)] == ["step-00000004", "step-00000005"]
    assert (tmp_path / "adapter").is_dir()


def test_a_failing_tracker_is_reported_once_and_the_run_continues(recipe, tmp_path, monkeypatch, caplog):
    def fails(*given, **named):
        raise RuntimeError("the network is gone")

    tracker = SimpleNamespace(log=fails, finish=fails)
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **settings: tracker))
    run = tmp_path / "run"
    assert done(steps_of(recipe, run, changes={**SHORT, "loop.steps": 3}, log_with="wandb")) == [1, 2, 3]
    told = [record.getMessage() for record in caplog.records if "continues without" in record.getMessage()]
    assert told == ["RuntimeError: the network is gone; the run continues without some of its logs"]
    assert checkpoints(run)[-1].name == "step-00000003"
    assert json.loads((run / "run.json").read_text())["parts"][-1]["end"] == "finished"


def test_other_files_among_the_videos_do_no_harm(recipe, tmp_path):
    run = tmp_path / "run"
    done(steps_of(recipe, run, changes={**SHORT, "loop.steps": 1}))
    (run / "videos").mkdir(exist_ok=True)
    mine = [run / "videos" / name for name in ("step-mine.mp4", "step-00000009-mine.mp4")]
    for path in mine:
        path.touch()
    assert done(steps_of(recipe, run, resume=True, changes={**SHORT, "loop.steps": 2})) == [2]
    assert all(path.exists() for path in mine)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("recipe", [], "recipe: Input should be a valid dictionary"),
        ("parts", 3, "parts: Input should be a valid list"),
        ("parts", [{"since": "yesterday", "until": "2026-01-01T00:00:00+00:00"}], "parts.0.since: "),
        ("validations", [{"scores": {}, "words": ""}], "validations.0.step: Field required"),
        ("validations", [{"step": 1, "scores": {"gap": "much"}, "words": ""}], "validations.0.scores.gap: "),
    ],
)
def test_an_edited_run_record_is_a_one_line_error(recipe, trained, name, value, words):
    path = trained / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    before = contents(trained)
    with pytest.raises(
        ValueError, match=rf"run\.json: damaged or edited \({re.escape(words)}.*restore the original file"
    ):
        goes_on(recipe, trained)
    assert contents(trained) == before
