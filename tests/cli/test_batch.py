"""`refilm batch` makes the rows of this process, reports them all, and its exit code says whether they are done."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import Result

from refilm.generation.states import load_state

ROWS = [{"prompt": f"a critter {does}", "steps": 1, "frames": 1} for does in ("waits", "spins", "bounces")]
NAMES = [f"000{number}-a-critter-{does}.mp4" for number, does in enumerate(("waits", "spins", "bounces"), start=1)]


@pytest.fixture
def batch(refilm, tiny_base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SLURM_ARRAY") or name in ("RANK", "WORLD_SIZE")]:
        monkeypatch.delenv(name)

    def run(*words: object, rows: list[dict[str, object]] = ROWS) -> Result:
        Path("jobs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return refilm("batch", "jobs.jsonl", "-o", "out", "--base", tiny_base, *words)

    return run


def made() -> list[str]:
    return sorted(path.name for path in Path("out").glob("*.mp4"))


def test_all_rows_are_made_and_reported(batch):
    result = batch()
    assert result.exit_code == 0, result.output
    assert made() == NAMES
    assert result.stdout.startswith(f"out/{NAMES[0]}: seed ")
    assert result.stdout.endswith("out: 3 done, 0 failed, 0 open; out/report.jsonl\n")
    assert batch().stdout == "out: 3 done, 0 failed, 0 open; out/report.jsonl\n"


def test_an_error_is_a_row_of_the_table_and_of_the_exit_code(batch):
    result = batch(rows=[*ROWS, {"prompt": "a [red]critter", "reference": "nowhere.png"}])
    assert result.exit_code == 1
    assert made() == NAMES
    assert result.stderr.startswith("error: jobs.jsonl:4: nowhere.png: no such file in ")
    row, table, summary = result.stdout.splitlines()[-3:]
    assert row.split() == ["row", "output", "error"]
    assert table.split()[:4] == ["4", "0004.mp4", "jobs.jsonl:4:", "nowhere.png:"]
    assert summary == "out: 3 done, 1 failed, 0 open; out/report.jsonl"


def test_names_in_the_table_are_no_markup(batch):
    name = "a[@click=foo](.:smile:[red]b.mp4"
    result = batch(rows=[{"prompt": "a critter waits", "steps": 1, "frames": 10, "output": name}])
    assert name in result.stdout.splitlines()[-2]


def test_a_video_of_the_user_is_kept_and_the_others_are_made(batch):
    Path("out").mkdir()
    Path("out", NAMES[1]).write_text("mine")
    result = batch()
    assert result.exit_code == 1
    assert f"jobs.jsonl:2: {NAMES[1]}: exists, and was not made from this list; remove it" in result.stderr
    assert Path("out", NAMES[1]).read_text() == "mine"
    assert made() == NAMES


def test_a_shard_makes_its_rows_only(batch):
    result = batch("--shard", "2/2")
    assert result.exit_code == 0
    assert result.stdout.startswith("share 2/2 (--shard): 1 of 3 rows\n")
    assert made() == NAMES[1:2]
    report = [json.loads(line)["status"] for line in Path("out/report.jsonl").read_text().splitlines()]
    assert report == ["open", "done", "open"]
    assert batch("--shard", "1/2").exit_code == 0
    assert made() == NAMES


def test_torchrun_and_slurm_arrays_are_recognized(batch, monkeypatch):
    for name, value in {"ID": 5, "MIN": 4, "MAX": 5, "COUNT": 2}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    assert batch().stdout.startswith("share 2/2 (SLURM job array): 1 of 3 rows\n")
    assert made() == NAMES[1:2]
    set_rank(monkeypatch, 0)
    assert batch("--shard", "1/1").stdout.startswith("share 1/2 (--shard and torchrun): 2 of 3 rows\n")
    assert made() == NAMES


def set_rank(monkeypatch, rank: int) -> None:
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", "2")


def test_the_last_process_of_torchrun_exits_with_the_errors_of_all(batch, monkeypatch):
    """When one exits with an error, torchrun ends the others."""
    rows = [{"prompt": "a", "steps": "many"}, *ROWS[1:]]
    set_rank(monkeypatch, 0)
    first = batch(rows=rows)
    assert first.stdout.endswith("out: 1 done, 1 failed, 1 open; out/report.jsonl\n")
    assert first.exit_code == 0
    set_rank(monkeypatch, 1)
    last = batch(rows=rows)
    assert last.stdout.endswith("out: 2 done, 1 failed, 0 open; out/report.jsonl\n")
    assert last.exit_code == 1


def test_with_claims_a_process_begins_with_its_share_and_makes_all(batch, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    first, *lines = batch("--claim").stdout.splitlines()
    assert first == "share 2/2 (torchrun) first, then the rows that others leave"
    assert [line.split(":")[0] for line in lines[:-1]] == [f"out/{NAMES[number]}" for number in (1, 0, 2)]
    Path("out", NAMES[2]).unlink()
    assert batch("--claim", "--shard", "2/3").exit_code == 0  # a limit, if it is asked for
    assert made() == NAMES[:2]


@pytest.mark.parametrize(
    ("rows", "words", "message"),
    [
        ([{"promt": "a"}], (), "jobs.jsonl:1: promt: unknown; did you mean prompt?"),
        (ROWS, ("--shard", "0/3"), "--shard '0/3': give a number and how many there are"),
        (ROWS, ("--claim", "--stale-after", 0), "--stale-after: "),
        (ROWS, ("--adapter", "nowhere"), "nowhere"),
    ],
)
def test_what_concerns_all_rows_is_refused_in_one_line(batch, rows, words, message):
    result = batch(*words, rows=rows)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert made() == []


@pytest.mark.slow
def test_a_process_that_is_asked_to_end_releases_its_row(tiny_base, tmp_path):
    """SLURM and `kill` send SIGTERM: other processes need not wait until its heartbeats count as missing."""
    (tmp_path / "jobs.jsonl").write_text(json.dumps({**ROWS[0], "steps": 900, "frames": 17}))
    words = ["batch", "jobs.jsonl", "-o", "out", "--claim", "--base", str(tiny_base)]
    process = subprocess.Popen([sys.executable, "-m", "refilm.cli", *words], cwd=tmp_path)
    claim = tmp_path / "out" / ".jobs" / f"{NAMES[0]}.claim-0"
    while not claim.exists() or not claim.stat().st_size:
        assert process.poll() is None
        time.sleep(0.05)
    assert claim.stat().st_mtime > 0
    time.sleep(2)  # some steps
    process.terminate()
    assert process.wait(60) == 143
    assert claim.stat().st_mtime == 0
    assert not list((tmp_path / "out" / ".jobs").glob("*.json"))
    assert 0 < load_state(tmp_path / "out" / ".jobs" / f"{NAMES[0]}.state").state.step.index < 899


@pytest.mark.slow
def test_torchrun_makes_all_rows_though_one_fails(tiny_base, tmp_path):
    rows = [{"prompt": "a", "steps": "many"}, *ROWS, *({**row, "steps": 20} for row in ROWS)]
    (tmp_path / "jobs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    words = ["-m", "refilm.cli", "--", "batch", "jobs.jsonl", "-o", "out", "--base", str(tiny_base)]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    assert "share 2/2 (torchrun): 3 of 7 rows" in done.stdout
    report = [json.loads(line)["status"] for line in (tmp_path / "out" / "report.jsonl").read_text().splitlines()]
    assert report == ["failed", *["done"] * 6]
