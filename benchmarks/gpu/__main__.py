"""Measure one part in this process: `python -m gpu PART --out FILE [--tiny]`; `run.py` starts it."""

import argparse
import importlib
import sys
from pathlib import Path

from gpu.part import Run, attempted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", help="A module of this package that has a function `measure`.")
    parser.add_argument("--out", type=Path, required=True, help="File for the result; overwritten if it exists.")
    parser.add_argument("--tiny", action="store_true", help="Measure tiny sizes.")
    parser.add_argument("--commit", help="The commit. Default: that of the repository.")
    options = parser.parse_args()
    facts = {"commit": options.commit} if options.commit else {}
    run = Run(options.part, options.out, tiny=options.tiny, facts=facts)
    if run.device.type == "cpu" and not run.tiny:
        run.status("failed: torch finds no GPU here; use --tiny to try this on a CPU")
        sys.exit(1)
    _, problem = attempted(lambda: importlib.import_module(f"gpu.{options.part}").measure(run))
    run.status("; ".join(f"{kind}: {reason}" for kind, reason in problem.items()) or "complete")


if __name__ == "__main__":
    main()
