"""`refilm sweep`: a grid of videos over one or two values."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import Field

from refilm.cli.asking import Model, SamplingOptions, Wanted, asked
from refilm.cli.console import print_line, working
from refilm.cli.making import StateFile, leaving_state, sampled, state_path
from refilm.cli.options import with_options
from refilm.cli.recipe_options import Stored, stored
from refilm.cli.subject_options import SubjectOptions
from refilm.cli.values import named_value, typed
from refilm.settings import Seed, Settings

if TYPE_CHECKING:
    from refilm.generation import Pipeline
    from refilm.generation.encodings import Encodings
    from refilm.generation.series import Axis, Cell


class Sweeping(Settings):
    """What varies, and where the videos are saved."""

    over: Annotated[tuple[str, ...], typer.Option(metavar="NAME=VALUE,VALUE")]
    """A value and what it is in each video: seed=1,2,3, any setting (steps=10,20,50), or the control of a subject
    (fox.scale=0.5,1). Give it once, or twice for a grid: rows, then columns."""
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("sweep")
    """Output folder: the videos with their recipes, index.html with all of them, and grid.mp4. Videos that it contains
    already are not made again."""
    seed: Seed = 0
    """Random seed of all videos, unless --over varies it."""
    save_state_every: int | None = Field(default=None, ge=1, le=999)
    """Steps after which the state of a video's sampling is saved; the next run goes on from there. Default: only if the
    command is stopped by Ctrl-C or SIGTERM."""


PARTS = (Wanted, Sweeping, Model, SamplingOptions)


@with_options(Wanted, Sweeping, SubjectOptions, Model, SamplingOptions, stored(*PARTS, left=SubjectOptions))
def sweep(
    wanted: Wanted, sweeping: Sweeping, chosen: SubjectOptions, model: Model, sampling: Settings, file: Stored
) -> None:
    """Make a video for each value of one setting, or for each pair of values of two, on one page."""
    wish = asked(wanted, chosen, model, sampling, recipe=file.recipe)
    from refilm.generation.encodings import Encodings
    from refilm.generation.series import Axis, cells_of, is_made

    axes = [Axis(*_axis(text)) for text in sweeping.over]
    encodings = Encodings()
    with working("encoding"):
        recipe = wish.sampling(seed=sweeping.seed, encodings=encodings).recipes[0]
    cells = cells_of(recipe, axes)
    left = [cell for cell in cells if not is_made(cell.recipe, _file(sweeping.output, cell))]
    for number, cell in enumerate(left, start=1):
        _make(wish.pipeline, cell, sweeping, encodings)
        print_line(f"{_file(sweeping.output, cell)}: {number} of {len(left)}")
    pages = _write_pages(wish.prompt, cells, axes, sweeping.output)
    print_line(f"{', '.join(map(str, pages))}: {len(cells)} videos, {len(left)} of them new")


def _axis(text: str) -> tuple[str, tuple[object, ...]]:
    name, values = named_value(text, "--over", "steps=10,20,50")
    return name, tuple(typed(value) for value in values.split(","))


def _file(folder: Path, cell: "Cell") -> Path:
    return folder / f"{cell.row + 1}-{cell.column + 1}.mp4"


def _make(pipeline: "Pipeline", cell: "Cell", sweeping: Sweeping, encodings: "Encodings") -> None:
    from refilm.generation.recipe import save_with_recipe
    from refilm.generation.rerun import sampling_of
    from refilm.generation.series import state_of
    from refilm.generation.states import remove_state

    path = _file(sweeping.output, cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = state_of(cell.recipe, state_path(path), device=pipeline.base.device)
    state = None if stored is None else stored.state
    run = sampling_of(pipeline, [cell.recipe], state=state, encodings=encodings)
    file = StateFile(state_path(path), sweeping.save_state_every)
    with leaving_state(run, file):
        sampled(run, file)
        save_with_recipe(pipeline.decode(run.latents)[0], run.finished_recipes()[0], path)
    remove_state(file.path)


def _write_pages(prompt: str, cells: Sequence["Cell"], axes: Sequence["Axis"], folder: Path) -> list[Path]:
    from refilm.files import write_text
    from refilm.generation.contact import grid, page
    from refilm.media import open_video

    columns, rows = axes[-1].labels(), axes[0].labels() if len(axes) == 2 else [""]
    table = [[_file(folder, cell) for cell in cells if cell.row == row] for row in range(len(rows))]
    text = f"{len(cells)} videos; each contains its recipe: refilm rerun VIDEO"
    index, moving = folder / "index.html", folder / "grid.mp4"
    write_text(index, page(prompt, text, rows, columns, [[file.name for file in row] for row in table]))
    captions = [f"{row}  {' | '.join(columns)}".strip() for row in rows]
    grid([[open_video(file) for file in row] for row in table], captions).save(moving, scale=1)
    return [index, moving]
