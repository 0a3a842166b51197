"""How long a recipe takes: until its clips are encoded, until its first validation result, and per step.

    python benchmarks/first_validation.py                       # recipes/critters.toml
    python benchmarks/first_validation.py --recipe mine.toml --out trial.json

The run is that of `refilm train RECIPE`, in a temporary folder, stopped after the first validation.
`all_steps_seconds` is not measured but estimated: the median of the steps after the first tenth, times all steps.
Writes benchmarks/results/first_validation.json, or `--out`.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from record import RESULTS, add_out, target, write

from refilm.data.encoding import EncodeProgress
from refilm.recipes import read_recipe
from refilm.training.engine.loop import Progress
from refilm.training.run import train

RESULT = RESULTS / "first_validation.json"
RECIPE = Path(__file__).parents[1] / "recipes" / "critters.toml"


def measured(path: Path, folder: Path) -> dict[str, Any]:
    """Run a recipe until its first validation is reported."""
    recipe = read_recipe(path, {"out": str(folder / "out"), "data.cache": str(folder / "cache")})
    started, encoded, steps = time.perf_counter(), 0.0, []
    for event in train(recipe, folder / "run"):
        if isinstance(event, EncodeProgress):
            encoded = time.perf_counter() - started
        elif isinstance(event, Progress):
            steps.append(event)
            if event.words:
                break
    validated = time.perf_counter() - started
    steady = statistics.median(step.seconds for step in steps[len(steps) // 10 : -1])
    return {
        "recipe": path.name,
        "encoding_seconds": round(encoded, 1),
        "first_validation_step": steps[-1].step,
        "first_validation_seconds": round(validated, 1),
        "reference_usage": steps[-1].words,
        "step_seconds": round(steady, 3),
        "clips_a_second": round(steps[-1].samples / steady, 2),
        "all_steps_seconds": round(steady * recipe.loop.steps),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    with tempfile.TemporaryDirectory() as folder:
        write(out, measured(options.recipe, Path(folder)))


if __name__ == "__main__":
    main()
