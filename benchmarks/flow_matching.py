"""Training on flow matching: a tiny Wan transformer from scratch on critters, then its adapter.

    python benchmarks/flow_matching.py                    # recipes/wan/base.toml, then adapter.toml
    python benchmarks/flow_matching.py --keep runs/wan    # keeps the model, to generate videos with it

Text encoder, image encoder and autoencoder are the pocket model's. Records every validation of both runs: the losses on
held-out clips with the right image, with that of another subject and without an image.
Writes benchmarks/results/flow_matching.json, or `--out`.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from record import RESULTS, add_out, target, write

from refilm.checkpoints import copy_base, whole_base
from refilm.recipes import read_recipe
from refilm.training.engine.loop import Progress
from refilm.training.run import train

RESULT = RESULTS / "flow_matching.json"
RECIPES = Path(__file__).parents[1] / "recipes" / "wan"
LOSSES = ("right", "wrong", "none")


def measured(folder: Path) -> dict[str, Any]:
    """Train the base model, then the adapter."""
    copy_base(whole_base("pocket"), folder / "model")
    data = {"base": str(folder / "model"), "data.cache": str(folder / "clips")}
    return {
        "base": curve(RECIPES / "base.toml", folder / "base-run", data),
        "adapter": curve(
            RECIPES / "adapter.toml", folder / "adapter-run", data | {"out": str(folder / "model" / "adapter")}
        ),
    }


def curve(path: Path, run: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """Every validation of a run, and its seconds with encoding."""
    started, rows = time.perf_counter(), []
    for event in train(read_recipe(path, changes), run):
        if isinstance(event, Progress) and event.scores:
            losses = {name: round(event.scores[name], 4) for name in LOSSES if name in event.scores}
            rows.append({"step": event.step, **losses, "words": event.words})
            print(rows[-1], flush=True)
    return {"recipe": f"wan/{path.name}", "seconds": round(time.perf_counter() - started), "validations": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="a new folder for model, clips and runs; default: a temporary one")
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    with tempfile.TemporaryDirectory() as folder:
        write(out, measured(options.keep or Path(folder)))


if __name__ == "__main__":
    main()
