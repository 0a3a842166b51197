"""Run the tests that are marked slow, and record the outcome and seconds of each.

    make test-slow                                    # writes benchmarks/results/slow_tests.json
    python benchmarks/slow_tests.py --out trial.json -k memory

Further arguments are passed to pytest. Exits with pytest's code; an interrupted run writes no result.
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
RESULT = RESULTS / "slow_tests.json"
FINISHED = (0, 1)  # pytest's exit codes of a complete run


def outcome(case: ElementTree.Element) -> str:
    """Outcome of a test in JUnit's XML."""
    kinds = {child.tag for child in case}
    return next((kind for kind in ("failure", "error", "skipped") if kind in kinds), "passed")


def summary(report: Path) -> dict[str, Any]:
    """Counts, and each test with its outcome and seconds, slowest first."""
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
    add_out(parser, RESULT)
    options, more = parser.parse_known_args()
    out = target(parser, options.out, RESULT)
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
