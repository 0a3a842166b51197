"""Rows of a list, made by several real processes, some of which are killed: each row once, and the same bytes."""

import hashlib
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .processes import Processes

COUNT = 8
FAILED = 3  # the row with an image that does not exist


@pytest.fixture(scope="module")
def processes(tiny_base: Path) -> Iterator[Processes]:
    processes = Processes(tiny_base)
    yield processes
    processes.close()


@pytest.fixture(scope="module")
def jobs(fox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jobs(tmp_path_factory.mktemp("jobs"), fox, count=COUNT)


@pytest.fixture(scope="module")
def alone(processes: Processes, jobs: Path) -> dict[str, str]:
    """The videos of the list, made by one process without claims."""
    return made_alone(processes, jobs)


def write_jobs(folder: Path, fox: Path, *, count: int) -> Path:
    (folder / "fox.png").write_bytes(fox.read_bytes())
    rows = [{"prompt": f"a critter, number {number}", "steps": 2, "frames": 5} for number in range(1, count + 1)]
    rows[0] |= {"reference": "fox.png", "seed": 7, "output": "first.gif"}
    rows[1] |= {"subjects": {"fox": {"images": ["fox.png"], "scale": 0.5}}}
    rows[FAILED - 1] |= {"reference": "nowhere.png"}
    (path := folder / "jobs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def made_alone(processes: Processes, jobs: Path) -> dict[str, str]:
    out = jobs.parent / "alone"
    processes.start(jobs, out, claim=False)
    processes.wait()
    return videos(out)


def videos(out: Path) -> dict[str, str]:
    """The names of all videos in a folder, with the hashes of their content."""
    files = (path for path in out.iterdir() if path.suffix in (".mp4", ".gif"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def ended(out: Path) -> list[tuple[int, str, int]]:
    """The rows that processes have ended: number, status and process."""
    lines = (line.split() for line in Path(f"{out}.log").read_text().splitlines())
    return sorted((int(number), status, int(pid)) for number, status, pid in lines)


def require_whole(out: Path, expected: dict[str, str], *, count: int = COUNT) -> None:
    """All videos are those of one process, and the report has every row."""
    assert videos(out) == expected
    rows = [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]
    assert [row["number"] for row in rows] == [*range(1, count + 1)]
    assert [row["number"] for row in rows if row["status"] != "done"] == [FAILED]
    done = [number for number, status, _ in ended(out) if status == "done"]
    assert len(done) == len(set(done))


def killed_at_random(processes: Processes, jobs: Path, out: Path, *, kills: int, videos: int, count: int = 2) -> int:
    """Make a list while processes are killed and replaced; returns the number of kills."""
    rng, done = random.Random(out.name), 0
    pids = [processes.start(jobs, out) for _ in range(count)]
    while done < kills and len([*out.glob("*.*")]) < videos:
        time.sleep(rng.uniform(0, 0.15))
        processes.kill(pids.pop(rng.randrange(count)))
        pids.append(processes.start(jobs, out))
        done += 1
    processes.wait()
    return done


def test_one_process_makes_every_row_once(alone, jobs):
    out = jobs.parent / "alone"
    require_whole(out, alone)
    assert [number for number, _, _ in ended(out)] == [*range(1, COUNT + 1)]
    assert set(alone) == {"first.gif", *(f"{number:04}-a-critter-number-{number}.mp4" for number in (2, *range(4, 9)))}
    assert len(set(alone.values())) == COUNT - 1


@pytest.mark.parametrize("count", [2, 3])
def test_processes_with_claims_make_each_row_once_and_the_same_bytes(processes, jobs, alone, tmp_path, count):
    for _ in range(count):
        processes.start(jobs, tmp_path / "out")
    processes.wait()
    require_whole(tmp_path / "out", alone)
    rows = ended(tmp_path / "out")
    assert {number for number, _, _ in rows} == {*range(1, COUNT + 1)}  # a late process tries the failed row again
    assert len({pid for _, _, pid in rows}) == count


def test_rows_of_killed_processes_are_made_by_others(processes, jobs, alone, tmp_path):
    assert killed_at_random(processes, jobs, tmp_path / "out", kills=8, videos=COUNT - 2) > 1
    require_whole(tmp_path / "out", alone)


def test_a_process_resumes_where_one_was_killed(processes, jobs, alone, tmp_path):
    pid = processes.start(jobs, tmp_path / "out", claim=False)
    while not (tmp_path / "out" / "first.gif").exists():
        time.sleep(0.01)
    processes.kill(pid)
    processes.start(jobs, tmp_path / "out", claim=False)
    processes.wait()
    require_whole(tmp_path / "out", alone)
    assert len({pid for _, _, pid in ended(tmp_path / "out")}) == 2


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3])
def test_60_rows_and_60_kills(processes, fox, tmp_path, count):
    jobs = write_jobs(tmp_path, fox, count=60)
    expected, kills, number = made_alone(processes, jobs), 0, 0
    while kills < 60:
        out = tmp_path / f"out-{(number := number + 1)}"
        kills += killed_at_random(processes, jobs, out, kills=60 - kills, videos=58, count=count)
        require_whole(out, expected, count=60)
