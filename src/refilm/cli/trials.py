"""`refilm train --dry-run` and `--overfit`: check a recipe without training, or test it on a few clips."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from refilm.cli.console import print_line, screen
from refilm.cli.run_display import RunDisplay, size, table_of
from refilm.errors import UserError

if TYPE_CHECKING:
    from refilm.training.overfit import OverfitProgress


def report_self_test(recipe: Path, clips: int, changes: dict[str, Any], display: RunDisplay) -> None:
    """Test whether a recipe learns a few clips; exits with code 1 if it does not."""
    with display:
        from refilm.data.encoding import EncodeProgress
        from refilm.recipes import read_recipe
        from refilm.training.recipes import AdapterRecipe, BaseRecipe
        from refilm.training.run import self_test

        made = read_recipe(recipe, changes)
        if not isinstance(made, AdapterRecipe | BaseRecipe):
            raise UserError(f"{recipe}: stage {made.stage} has no self-test; remove --overfit")
        events = self_test(made, clips)
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                outcome = end.value
                break
            if isinstance(event, EncodeProgress):
                display.show(event)
            else:
                display.print_line(_line(event))
    display.print_line(f"{'passed' if outcome.passed else 'failed'}: {outcome.words}")
    if not outcome.passed:
        raise typer.Exit(1)


def _line(event: "OverfitProgress") -> str:
    gap = f"  gap {event.scores['gap']:.4f}" if "gap" in event.scores else ""
    loss = f"loss {event.start:.4f} -> {event.loss:.4f} ({-event.fall:+.0%})"
    return f"step {event.step} of at most {event.steps}  {loss}{gap}"


def report_dry_run(
    recipe: Path, folder: Path, *, changes: dict[str, Any], resume: bool | Path, allow_changes: Collection[str]
) -> None:
    """Print what a run would do, and how much memory it would need."""
    from refilm.recipes import read_recipe
    from refilm.training.dry_run import dry_run_of

    result = dry_run_of(read_recipe(recipe, changes), folder, resume=resume, allow_changes=allow_changes)
    samples = "" if result.samples is None else f", {result.samples:,} samples"
    print_line(f"{recipe}: stage {result.stage}, {result.steps:,} steps{samples}")
    for note in result.notes:
        print_line(f"note: {note}")
    if result.trained is None:
        if result.samples is not None:
            print_line("clips are not encoded yet; encode them to see the clip count and the memory estimate")
        return
    print_line(
        f"{result.clips:,} training clips, each used {result.epochs:.1f} times; {result.held_out:,} validation clips"
    )
    for (frames, height, width), clips in sorted((result.buckets or {}).items()):
        print_line(f"  {clips:,} of {frames} x {height} x {width} latents")
    screen().print(table_of(result.trained))
    print_line(
        f"memory per process: {size(result.trained.bytes)} for these, {size(result.activations)} for activations, "
        f"at least {size(result.memory)} in total"
    )
