"""`refilm train --dry-run` and `--overfit`: a recipe is looked at before it is run, or tried on a few clips."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from refilm.cli.run_display import Course, size, table_of
from refilm.cli.showing import say, screen

if TYPE_CHECKING:
    from refilm.training.overfit import Look


def report_self_test(recipe: Path, clips: int, changes: dict[str, Any], course: Course) -> None:
    """Try whether a recipe learns a few clips; leaves with exit code 1 if it does not."""
    with course:
        from refilm.data.encoding import EncodeProgress
        from refilm.recipes import read_recipe
        from refilm.training.recipes import AdapterRecipe, BaseRecipe
        from refilm.training.run import self_test

        made = read_recipe(recipe, changes)
        if not isinstance(made, AdapterRecipe | BaseRecipe):
            raise ValueError(f"{recipe}: stage {made.stage} has no self-test; leave --overfit out")
        looks = self_test(made, clips)
        while True:
            try:
                look = next(looks)
            except StopIteration as end:
                outcome = end.value
                break
            if isinstance(look, EncodeProgress):
                course.show(look)
            else:
                course.tell(_line(look))
    course.tell(f"{'passed' if outcome.passed else 'failed'}: {outcome.words}")
    if not outcome.passed:
        raise typer.Exit(1)


def _line(look: "Look") -> str:
    gap = f"  gap {look.scores['gap']:.4f}" if "gap" in look.scores else ""
    return (
        f"step {look.step} of at most {look.steps}  loss {look.start:.4f} -> {look.loss:.4f} ({-look.fall:+.0%}){gap}"
    )


def report_dry_run(
    recipe: Path, folder: Path, *, changes: dict[str, Any], resume: bool | Path, allow_changes: list[str]
) -> None:
    """Say what a run would be, and how much memory it would need."""
    from refilm.recipes import read_recipe
    from refilm.training.dry_run import dry_run_of

    plan = dry_run_of(read_recipe(recipe, changes), folder, resume=resume, allow_changes=allow_changes)
    samples = "" if plan.samples is None else f", {plan.samples:,} samples"
    say(f"{recipe}: stage {plan.stage}, {plan.steps:,} steps{samples}")
    for note in plan.notes:
        say(f"note: {note}")
    if plan.trained is None:
        if plan.samples is not None:
            say("clips are not encoded yet: how many there are, and the memory, is told when they are")
        return
    say(f"{plan.clips:,} clips to learn from, each {plan.epochs:.1f} times; {plan.held_out:,} to validate on")
    for (frames, height, width), clips in sorted((plan.buckets or {}).items()):
        say(f"  {clips:,} of {frames} x {height} x {width} latents")
    screen().print(table_of(plan.trained))
    say(
        f"memory of each process: {size(plan.trained.bytes)} for these, {size(plan.activations)} for activations, "
        f"at least {size(plan.memory)} together"
    )
