"""How long a list of videos takes: `refilm batch` on some processes, and a plain loop that starts `refilm generate`.

    python benchmarks/batch.py [--rows 60] [--steps 8] [--kills 60] [--loop 60]

The pocket model makes each row from an image of its own. Measured are a loop that starts a process for each row, then
one, two and three processes with `--claim`, then the same while processes are killed at random moments and started
again; these save their state at every second step. After each kill all videos and states that exist are read. Every
process computes with one thread. The files of all runs are compared byte by byte, and the rows that the processes
report are counted. Writes benchmarks/results/batch.json, or `--out`.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from record import RESULTS, add_out, target, write

from refilm.data import critters
from refilm.errors import UserError
from refilm.generation.states import load_state
from refilm.media import open_video

RESULT = RESULTS / "batch.json"
LIST, LOG = "jobs.jsonl", "log.txt"
FRAMES = 17  # of a video
REFILM = [sys.executable, "-m", "refilm.cli"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}  # a killed process has printed its lines
Row = dict[str, object]


def write_list(folder: Path, count: int, steps: int) -> list[Row]:
    """A list of videos of different critters; returns its rows."""
    rows: list[Row] = []
    for number in range(count):
        story, image = critters.story(7, number, "held_out"), f"{number}.png"
        Image.fromarray(critters.portrait(story.subject, np.random.default_rng(number))).save(folder / image)
        shown = {"prompt": story.caption, "reference": image, "steps": steps, "seed": number}
        rows.append({**shown, "output": f"{number}.mp4"})
    (folder / LIST).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return rows


def loop(folder: Path, rows: list[Row]) -> dict[str, object]:
    """A process of `refilm generate` for each row, one after the other."""
    (out := folder / "loop").mkdir()
    load, started = os.getloadavg()[0], time.perf_counter()
    for row in rows:
        words = [word for name in ("reference", "steps", "seed") for word in (f"--{name}", str(row[name]))]
        command = [
            *REFILM,
            "generate",
            str(row["prompt"]),
            *words,
            "--no-metadata",
            "-o",
            str(out / str(row["output"])),
        ]
        subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT, cwd=folder)
    return {"seconds": round(time.perf_counter() - started, 1), "load_before": load, "done": len(rows)}


class Processes:
    """Processes of `refilm batch --claim`, which write what they print to one file."""

    def __init__(self, folder: Path, out: Path, count: int, options: Sequence[str]):
        self.folder, self.out, self.options = folder, out, options
        out.mkdir()
        self.log = (out / LOG).open("a")
        self.running = [self.started() for _ in range(count)]

    def started(self) -> subprocess.Popen[bytes]:
        words = ["batch", LIST, "--claim", "--no-metadata", "-o", str(self.out), *self.options]
        return subprocess.Popen([*REFILM, *words], env=ENVIRONMENT, cwd=self.folder, stdout=self.log, stderr=self.log)

    def replace_one(self, rng: random.Random) -> bool:
        """Kill a process and start another; whether it was still running."""
        number = rng.randrange(len(self.running))
        process = self.running[number]
        ended = process.poll() is not None
        process.kill()
        process.wait()
        if not ended:
            self.running[number] = self.started()
        return not ended

    def wait(self) -> None:
        for process in self.running:
            if process.wait():
                raise RuntimeError(f"a process exits with {process.returncode}: {(self.out / LOG).read_text()}")
        self.log.close()

    def made(self) -> Counter[str]:
        """How often each video was reported."""
        lines = (self.out / LOG).read_text().splitlines()
        return Counter(line.split(": seed ")[0] for line in lines if ": seed " in line)


def batch(folder: Path, name: str, count: int) -> dict[str, object]:
    """The list on some processes."""
    load, started = os.getloadavg()[0], time.perf_counter()
    processes = Processes(folder, folder / name, count, ())
    processes.wait()
    return facts(processes, load, started)


def killed(folder: Path, name: str, count: int, *, kills: int, longest: float) -> dict[str, object]:
    """The list on some processes, of which `kills` are killed, each up to `longest` seconds after the last."""
    load, started, rng, read = os.getloadavg()[0], time.perf_counter(), random.Random(count), Counter[str]()
    processes = Processes(folder, folder / name, count, ("--save-state-every", "2"))
    while read["kills"] < kills:
        time.sleep(rng.uniform(0, longest))
        if not processes.replace_one(rng):
            break
        read += Counter(kills=1, videos_read=videos_read(processes.out), states_read=states_read(processes.out))
    processes.wait()
    return facts(processes, load, started) | read


def facts(processes: Processes, load: float, started: float) -> dict[str, object]:
    """What is recorded of every run."""
    made, seconds = processes.made(), round(time.perf_counter() - started, 1)
    rows = [json.loads(line)["status"] for line in (processes.out / "report.jsonl").read_text().splitlines()]
    twice = sum(times > 1 for times in made.values())
    return {"seconds": seconds, "load_before": load, "done": rows.count("done"), "reported_twice": twice}


def videos_read(out: Path) -> int:
    """The number of videos; an error if one is not whole."""
    lengths = [len(open_video(path).frames) for path in out.glob("*.mp4")]
    if set(lengths) - {FRAMES}:
        raise RuntimeError(f"{out}: videos of {set(lengths)} frames")
    return len(lengths)


def states_read(out: Path) -> int:
    """The number of states; an error if one cannot be loaded. One that is removed meanwhile does not count."""
    count = 0
    for path in (out / ".jobs").glob("*.state"):
        try:
            load_state(path)
        except (UserError, OSError):
            if path.exists():
                raise
        else:
            count += 1
    return count


def hashes(folder: Path) -> dict[str, str]:
    """The hash of each video of a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.mp4"))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=60, help="Number of videos. Default: %(default)s.")
    parser.add_argument("--steps", type=int, default=8, help="Sampler steps of a video. Default: %(default)s.")
    parser.add_argument("--loop", type=int, default=60, help="Rows of the plain loop. Default: %(default)s.")
    parser.add_argument("--kills", type=int, default=60, help="Processes that are killed in all. Default: %(default)s.")
    parser.add_argument("--longest", type=float, default=10.0, help="Seconds between two kills. Default: %(default)s.")
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = write_list(folder, options.rows, options.steps)
        runs = {"loop": loop(folder, rows[: options.loop])}
        for count in (1, 2, 3):
            runs[f"batch-{count}"] = batch(folder, f"batch-{count}", count)
        for count in (1, 2, 3):
            own = {"kills": options.kills // 3, "longest": options.longest}
            runs[f"killed-{count}"] = killed(folder, f"killed-{count}", count, **own)
        known = hashes(folder / "batch-1")
        for run in runs:
            made = hashes(folder / run)
            runs[run]["same_files"] = sum(known[video] == digest for video, digest in made.items())
            print(run, runs[run], flush=True)
    settings = {name: getattr(options, name) for name in ("rows", "steps")}
    write(out, {**settings, "cores": os.cpu_count(), "runs": runs})


if __name__ == "__main__":
    main()
