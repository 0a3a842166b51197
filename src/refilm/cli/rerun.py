"""`refilm rerun` and `refilm finish`: videos made again, or to their end."""

import re
import time
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from refilm.cli.console import print_line, working
from refilm.cli.making import Keeping, StateFile, made, require_free
from refilm.cli.options import Computing, with_options
from refilm.cli.values import changes
from refilm.errors import UserError
from refilm.settings import Settings

if TYPE_CHECKING:
    from refilm.generation import Pipeline
    from refilm.generation.recipe import VideoRecipe


class Places(Computing):
    """Where the models and the images of a recipe are now."""

    references: Annotated[tuple[Path, ...], typer.Option(metavar="DIR")] = ()
    """Folder with images that are no longer where they were; they are found by their content. Repeat it for more."""
    base: str | None = None
    """The base model, if it is no longer where it was."""
    adapter: str | None = None
    """The adapter, if it is no longer where it was."""
    memory: Literal["high", "low"] = "high"
    """low: load encoders, transformer and autoencoder one after another and free each after use; slower, needs less
    memory."""


class Again(Settings):
    """What is made again, and where it is saved."""

    video: Annotated[Path, typer.Argument(metavar="VIDEO", show_default=False)]
    """A video that refilm made, or its recipe (.json)."""
    output: Annotated[Path | None, typer.Option("--output", "-o")] = None
    """Output file. Default: NAME-again beside the video."""
    set: Annotated[tuple[str, ...], typer.Option("--set", metavar="NAME=VALUE")] = ()
    """A value that differs: prompt, seed, any setting (steps=50), or the control of a subject (fox.scale=0.5). Repeat
    it for more."""


@with_options(Again, Keeping, Places)
def rerun(wanted: Again, keeping: Keeping, places: Places) -> None:
    """Make a video again from the recipe that it carries: the same frames, or with some settings changed."""
    from refilm.generation.recipe import read_video_recipe

    started = time.perf_counter()
    recipe = read_video_recipe(wanted.video).changed(changes(wanted.set))
    output = wanted.output or _beside(wanted.video)
    if output.exists() and output.samefile(wanted.video):
        raise UserError(f"{output}: is the video that is made again; choose another output")
    require_free(output)
    pipeline = _loaded(recipe, places)
    with working("encoding"):
        from refilm.generation.rerun import sampling_of

        run = sampling_of(pipeline, [recipe], references=places.references, beside=wanted.video.parent)
    made(pipeline, run, output, _kept(keeping, recipe), started=started)


class Unfinished(Settings):
    """What is finished, and where it is saved."""

    state: Annotated[Path, typer.Argument(metavar="STATE", show_default=False)]
    """The state file of a video: NAME.mp4.state, or one that `refilm draft` wrote."""
    output: Annotated[Path | None, typer.Option("--output", "-o")] = None
    """Output file. Default: NAME.mp4 for NAME.mp4.state and NAME.state."""


@with_options(Unfinished, Keeping, Places)
def finish(wanted: Unfinished, keeping: Keeping, places: Places) -> None:
    """Sample a video to its end from a state file: the same frames as without the interruption."""
    from refilm.generation.states import load_state

    started = time.perf_counter()
    stored = load_state(wanted.state)
    if len(stored.recipes) != 1:
        raise UserError(f"{wanted.state}: is of {len(stored.recipes)} videos; finish them in Python with `sampling_of`")
    output = wanted.output or _finished(wanted.state)
    keeping = _kept(keeping, stored.recipes[0])
    if not stored.metadata:
        keeping = keeping.model_copy(update={"metadata": False})
    state = StateFile.of(output, keeping)
    if _is_of_video(wanted.state):  # it ends with its video; a draft can be finished again
        state = replace(state, path=wanted.state)
    require_free(output, own=wanted.state)
    pipeline = _loaded(stored.recipes[0], places)
    with working("encoding"):
        from refilm.generation.rerun import sampling_of

        found = {"references": places.references, "beside": wanted.state.parent}
        run = sampling_of(pipeline, stored.recipes, state=stored.state, **found)
    print_line(f"{wanted.state}: step {run.done} of {run.request.steps}")
    made(pipeline, run, output, keeping, started=started, state=state)


def _kept(keeping: Keeping, recipe: "VideoRecipe") -> Keeping:
    """With the scale of the recipe, unless another one is given."""
    return keeping if keeping.scale is not None else keeping.model_copy(update={"scale": recipe.scale})


def _loaded(recipe: "VideoRecipe", places: Places) -> "Pipeline":
    with working("loading"):
        from refilm.generation.rerun import load_for

        return load_for(recipe, **places.model_dump(exclude={"references"}))


def _beside(video: Path) -> Path:
    """A name that is free: fox.mp4 and fox.mp4.json -> fox-again.mp4, or fox-again-2.mp4."""
    from refilm.media import existing_files

    video = video.with_suffix("") if video.suffix == ".json" else video
    stem = re.sub(r"-\d{3,}$", "", video.stem) if video.suffix == ".png" else video.stem
    numbered = (f"{stem}-again{f'-{number}' if number > 1 else ''}{video.suffix}" for number in count(1))
    return next(path for path in map(video.with_name, numbered) if not existing_files(path))


def _finished(state: Path) -> Path:
    """fox.mp4.state -> fox.mp4, 3.state -> 3.mp4."""
    output = state.with_suffix("")
    return output if output.suffix else output.with_suffix(".mp4")


def _is_of_video(state: Path) -> bool:
    """Whether it is the state of an interrupted video, fox.mp4.state, not one of a draft, 3.state."""
    return bool(state.with_suffix("").suffix)
