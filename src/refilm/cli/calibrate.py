"""`refilm calibrate`: measure what a step cache by magnitudes needs to know of a base model."""

from pathlib import Path
from typing import Annotated

import typer

from refilm.cli.asking import Model, SamplingOptions, Wanted, asked
from refilm.cli.console import print_line, working
from refilm.cli.options import with_options
from refilm.cli.subject_options import SubjectOptions
from refilm.errors import UserError
from refilm.settings import Seed, Settings


class Calibration(Settings):
    """Where the calibration is stored."""

    output: Annotated[Path | None, typer.Option("--output", "-o")] = None
    """Output file. Default: magnitudes.json in the base model's folder, where --step-cache-rule magnitude reads it."""
    seed: Seed = 0
    """Random seed of the run."""


@with_options(Wanted, Calibration, SubjectOptions, Model, SamplingOptions)
def calibrate(
    wanted: Wanted, calibration: Calibration, chosen: SubjectOptions, model: Model, sampling: Settings
) -> None:
    """Measure the magnitudes of a base model in one run without decoding, for --step-cache-rule magnitude.

    Use many steps, and the guidance that videos will have. One prompt is enough for all prompts, samplers and steps.
    """
    if model.base == "pocket" and calibration.output is None:
        raise UserError("pocket: has its magnitudes.json; give another output file with -o")
    wish = asked(wanted, chosen, model, sampling, recipe=None)
    from refilm.checkpoints import save_magnitudes
    from refilm.generation import calibrate as measured

    with working("calibrating"):
        references = [wish.subjects or None]
        magnitudes = measured(wish.pipeline, [wish.prompt], references, seeds=[calibration.seed], request=wish.request)
    path = save_magnitudes(magnitudes, wish.pipeline.base, calibration.output)
    print_line(f"{path}: {', '.join(magnitudes.logarithms)}; {len(magnitudes.timesteps)} timesteps")
