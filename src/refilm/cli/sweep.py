"""`refilm sweep`: a grid of videos over one or two values."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import Field

from refilm.cli.asking import Model, SamplingOptions, Wanted, asked
from refilm.cli.console import counted, print_line, working
from refilm.cli.making import StateFile, leaving_state, sampled, state_path
from refilm.cli.options import with_options
from refilm.cli.recipe_options import Stored, stored
from refilm.cli.subject_options import SubjectOptions
from refilm.cli.values import named_value, typed
from refilm.errors import UserError
from refilm.files import require_writable
from refilm.settings import Seed, Settings

if TYPE_CHECKING:
    from refilm.generation import Pipeline
    from refilm.generation.encodings import Encodings
    from refilm.generation.series import Axis, Cell

EXAMPLE = "steps=10,20,50"
PAGES = ("index.html", "grid.mp4")
FILES = r"(\d+-\d+)\.mp4(?:\.json|\.state)?"


class Sweeping(Settings):
    """What varies, and where the videos are saved."""

    over: Annotated[tuple[str, ...], typer.Option(metavar="NAME=VALUE,VALUE")]
    """A value and what it is in each video: seed=1,2,3, any setting (steps=10,20,50), or the control of a subject
    (fox.scale=0.5,1). Values with commas are quoted as in CSV: prompt="a fox runs, then jumps",a fox waits. Give it
    once, or twice for a grid: rows, then columns."""
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
    from refilm.generation.series import Axis, cells_of, is_made, require_grid, require_same_series

    axes = [Axis(*_axis(text)) for text in sweeping.over]
    require_grid(axes)
    require_writable(sweeping.output)
    wish = asked(wanted, chosen, model, sampling, recipe=file.recipe)
    from refilm.generation.encodings import Encodings

    encodings = Encodings()
    with working("encoding"):
        recipe = wish.sampling(seed=sweeping.seed, encodings=encodings).recipes[0]
    cells = cells_of(recipe, axes)
    require_same_series(sweeping.output, FILES, {_name(cell): cell.recipe for cell in cells}.get, PAGES)
    base = wish.pipeline.base
    for cell in cells:
        cell.recipe.settings.latent_shape(base.size.channels, base.compression)  # errors come before the first video
    left = [cell for cell in cells if not is_made(cell.recipe, _file(sweeping.output, cell))]
    for number, cell in enumerate(left, start=1):
        _make(wish.pipeline, cell, sweeping, encodings)
        print_line(f"{_file(sweeping.output, cell)}: {number} of {len(left)}")
    pages = _write_pages(wish.prompt, cells, axes, sweeping.output)
    print_line(f"{', '.join(map(str, pages))}: {counted(len(cells), 'video')}, {len(left)} new")


def _axis(text: str) -> tuple[str, tuple[object, ...]]:
    name, values = named_value(text, "--over", EXAMPLE)
    return name, _values(values, f"--over {text!r:.100}")


def _values(text: str, place: str) -> tuple[object, ...]:
    """Values as in an array of TOML, where a quoted number is a text, or as in a line of CSV."""
    array = typed(f"[{text}]")
    if isinstance(array, list) and array:
        return tuple(array)
    try:
        cells = next(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise UserError(f"{place}: {error}; quote values with commas or line breaks as in CSV") from error
    if not cells:
        raise UserError(f"{place}: has no values; give NAME=VALUE,VALUE, for example {EXAMPLE}")
    return tuple(map(typed, cells))


def _name(cell: "Cell") -> str:
    return f"{cell.row + 1}-{cell.column + 1}"


def _file(folder: Path, cell: "Cell") -> Path:
    return folder / f"{_name(cell)}.mp4"


def _make(pipeline: "Pipeline", cell: "Cell", sweeping: Sweeping, encodings: "Encodings") -> None:
    from refilm.generation.recipe import save_with_recipe
    from refilm.generation.rerun import sampling_of
    from refilm.generation.series import state_of
    from refilm.generation.states import remove_state

    path = _file(sweeping.output, cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = state_of(cell.recipe, state_path(path))
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
    text = f"{counted(len(cells), 'video')}; each contains its recipe: refilm rerun VIDEO"
    index, moving = (folder / name for name in PAGES)
    write_text(index, page(prompt, text, rows, columns, [[file.name for file in row] for row in table]))
    captions = [f"{row}  {' | '.join(columns)}".strip() for row in rows]
    grid([[open_video(file) for file in row] for row in table], captions).save(moving, scale=1)
    return [index, moving]
