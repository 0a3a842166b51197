"""Measure everything that needs a GPU, in 8 minutes, most important first.

    sh benchmarks/gpu/run.sh --out results [--wheels wheels] [--tiny]

Each part runs in its own process with its own time limit, and writes DIR/PART.json as its results come, so a part that
fails or takes too long leaves what it has measured, and the next one runs. DIR/report.md shows all results as tables.
The machine needs torch and transformers. Other packages can be given as wheels, which are unpacked into DIR/packages
if they are not installed; a part, or a case of it, that needs a package which is missing is skipped and says so.

Exits with 1 if something failed, took too long or is out of its bound. Imports nothing that may be missing.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import report

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parents[1] / "src", HERE.parent
PARTS = {"parity": 80, "generation": 190, "decoding": 70, "training_step": 90, "encoding": 50}
"""Seconds that each part may take."""
TOGETHER = 480
SLACK = 10
"""Factor on all limits for tiny sizes, which a CPU may compute slowly."""


def environment(packages: Path) -> dict[str, str]:
    """The environment of the parts: they import refilm and its benchmarks from here, and fetch nothing."""
    before = os.environ.get("PYTHONPATH")
    paths = [*map(str, SOURCES), str(packages), *([before] if before else [])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}


def unpack(wheels: Path, packages: Path) -> None:
    """Unpack the wheels of packages that are not installed."""
    for wheel in sorted(wheels.glob("*.whl")):
        if not is_installed(wheel.name.split("-")[0]):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(packages)


def is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def finish(out: Path, command: Sequence[str], env: Mapping[str, str], *, seconds: float) -> dict[str, Any]:
    """Run a part to its end or its time limit, and return its result, whose status then says how it ended."""
    out.unlink(missing_ok=True)
    started = time.monotonic()
    part = subprocess.Popen(command, env=env, start_new_session=True)
    try:
        ended = f"failed: ended with {part.wait(seconds)} before it was complete"
    except subprocess.TimeoutExpired:
        ended = f"failed: stopped after {seconds:.0f} s"
    finally:
        if part.poll() is None:
            os.killpg(part.pid, signal.SIGKILL)  # with the processes that compile for it
            part.wait()
    result = json.loads(out.read_text()) if out.exists() else {"part": out.stem, "status": "running", "cases": {}}
    if result["status"] == "running":
        result["status"] = ended
    result["seconds"] = round(time.monotonic() - started, 1)
    out.write_text(json.dumps(result, indent=2) + "\n")
    return result


def is_good(result: Mapping[str, Any]) -> bool:
    """Whether nothing failed and everything is within its bound; what was skipped does not count."""
    cases = result["cases"].values()
    whole = result["status"] == "complete" or result["status"].startswith("skipped")
    return whole and not any("failed" in case or case.get("within") is False for case in cases)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="Folder for the results; existing ones are replaced.")
    parser.add_argument("--wheels", type=Path, help="Folder with wheels of packages that may be missing.")
    parser.add_argument("--only", help=f"Parts to run, comma-separated, of {', '.join(PARTS)}. Default: all.")
    parser.add_argument("--seconds", type=float, help=f"Time limit for all parts together. Default: {TOGETHER}.")
    parser.add_argument("--tiny", action="store_true", help="Tiny sizes, to try the script, on a CPU too.")
    parser.add_argument("--commit", help="The commit, for a copy of the files without their repository.")
    options = parser.parse_args()
    chosen = options.only.split(",") if options.only else list(PARTS)
    if unknown := [name for name in chosen if name not in PARTS]:
        parser.error(f"--only: {unknown[0]} is no part; choose {', '.join(PARTS)}")
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if options.wheels:
        unpack(options.wheels, out / "packages")
    slack = SLACK if options.tiny else 1
    env, good = environment(out / "packages"), True
    end = time.monotonic() + (options.seconds or slack * TOGETHER)
    for name in chosen:
        command = [sys.executable, "-m", "gpu", name, "--out", str(out / f"{name}.json")]
        command += ["--tiny"] * options.tiny + (["--commit", options.commit] if options.commit else [])
        limit = min(slack * PARTS[name], max(0.0, end - time.monotonic()))
        result = finish(out / f"{name}.json", command, env, seconds=limit)
        good = good and is_good(result)
        print(report.section(result), flush=True)
    report.write(out)
    sys.exit(not good)


if __name__ == "__main__":
    main()
