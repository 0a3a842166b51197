"""Run the tests that are marked slow, and keep a record of it: which passed, and how long each took.

    make test-slow                                    # writes benchmarks/results/slow_tests.json
    python benchmarks/slow_tests.py --out trial.json -k memory

Whatever follows the options goes to pytest. Exits as pytest does; a run that was interrupted leaves no record.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from record import RESULTS, add_out, target, write

ROOT = Path(__file__).parents[1]
NAME = RESULTS / "slow_tests.json"
FINISHED = (0, 1)  # pytest's exit codes of a run that came to its end


def outcome(case: ElementTree.Element) -> str:
    """Of a test, as JUnit's XML says it."""
    kinds = {child.tag for child in case}
    return next((kind for kind in ("failure", "error", "skipped") if kind in kinds), "passed")


def summary(report: Path) -> dict[str, Any]:
    """Counts, and each test with its outcome and seconds, the longest first."""
    cases = list(ElementTree.parse(report).iter("testcase"))
    tests = [
        {"test": f"{case.get('classname')}::{case.get('name')}", "outcome": outcome(case), "seconds": seconds(case)}
        for case in cases
    ]
    counts = Counter(test["outcome"] for test in tests)
    return {"counts": dict(counts), "tests": sorted(tests, key=lambda test: -test["seconds"])}


def seconds(case: ElementTree.Element) -> float:
    return round(float(case.get("time", 0)), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_out(parser, NAME)
    options, more = parser.parse_known_args()
    out = target(parser, options.out, NAME)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", "slow", f"--junitxml={report}", *more]
        code = subprocess.run(command, cwd=ROOT).returncode
        if code in FINISHED:
            write(out, {"seconds": round(time.perf_counter() - started), **summary(report)})
    sys.exit(code)


if __name__ == "__main__":
    main()
