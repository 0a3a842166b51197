"""`refilm train --dry-run` and `--overfit`: a recipe is looked at before it is run, or tried on a few clips."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from refilm.cli.courses import Course, size, table_of
from refilm.cli.showing import say, screen

if TYPE_CHECKING:
    from refilm.training.overfit import Look


def tell_self_test(recipe: Path, clips: int, changes: dict[str, Any], course: Course) -> None:
    """Try whether a recipe learns a few clips; leaves with exit code 1 if it does not."""
    with course:
        from refilm.training.run import self_test

        looks = self_test(recipe, clips, changes=changes, on_encoded=course.encoded)
        while True:
            try:
                course.tell(_line(next(looks)))
            except StopIteration as end:
                outcome = end.value
                break
    course.tell(f"{'passed' if outcome.passed else 'failed'}: {outcome.words}")
    if not outcome.passed:
        raise typer.Exit(1)


def notes_of(recipe: Path, changes: dict[str, Any]) -> tuple[str, ...]:
    """What is better known before a run than after."""
    from refilm.training.notes import notes_on
    from refilm.training.recipes import read_recipe

    return notes_on(read_recipe(recipe, changes))


def _line(look: "Look") -> str:
    gap = f"  gap {look.scores['gap']:.4f}" if "gap" in look.scores else ""
    return (
        f"step {look.step} of at most {look.steps}  loss {look.start:.4f} -> {look.loss:.4f} ({-look.fall:+.0%}){gap}"
    )


def tell_plan(
    recipe: Path, folder: Path, *, changes: dict[str, Any], resume: bool | Path, allow_changes: list[str]
) -> None:
    """Say what a run would be, and how much memory it would need."""
    from refilm.training.dry_run import plan_of

    plan = plan_of(recipe, folder, changes=changes, resume=resume, allow_changes=allow_changes)
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
