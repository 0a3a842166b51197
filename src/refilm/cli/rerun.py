"""`refilm rerun` and `refilm finish`: videos made again, or to their end."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from refilm.cli.console import print_line, working
from refilm.cli.making import Keeping, made
from refilm.cli.options import Computing, with_options
from refilm.cli.values import named_value, typed
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
    from refilm.media import check_target

    started = time.perf_counter()
    recipe = read_video_recipe(wanted.video).changed(_changes(wanted.set))
    output = wanted.output or _beside(wanted.video)
    check_target(output)
    pipeline = _loaded(recipe, places)
    with working("encoding"):
        from refilm.generation.rerun import sampling_of

        run = sampling_of(pipeline, [recipe], references=places.references)
    if keeping.scale is None and recipe.scale is not None:
        keeping = keeping.model_copy(update={"scale": recipe.scale})
    made(pipeline, run, output, keeping, started=started)


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
    from refilm.media import check_target

    started = time.perf_counter()
    stored = load_state(wanted.state)
    if len(stored.recipes) != 1:
        raise UserError(f"{wanted.state}: is of {len(stored.recipes)} videos; finish them in Python with `sampling_of`")
    output = wanted.output or _finished(wanted.state)
    check_target(output)
    pipeline = _loaded(stored.recipes[0], places)
    with working("encoding"):
        from refilm.generation.rerun import sampling_of

        state = load_state(wanted.state, device=pipeline.base.device).state
        run = sampling_of(pipeline, stored.recipes, references=places.references, state=state)
    print_line(f"{wanted.state}: step {run.done} of {run.request.steps}")
    made(pipeline, run, output, keeping, started=started)


def _loaded(recipe: "VideoRecipe", places: Places) -> "Pipeline":
    with working("loading"):
        from refilm.generation.rerun import load_for

        return load_for(recipe, **places.model_dump(exclude={"references"}))


def _changes(texts: tuple[str, ...]) -> dict[str, Any]:
    pairs = (named_value(text, "--set", "steps=50") for text in texts)
    return {name: typed(value) for name, value in pairs}


def _beside(video: Path) -> Path:
    """fox.mp4 and fox.mp4.json -> fox-again.mp4."""
    video = video.with_suffix("") if video.suffix == ".json" else video
    return video.with_name(f"{video.stem}-again{video.suffix}")


def _finished(state: Path) -> Path:
    """fox.mp4.state -> fox.mp4, 3.state -> 3.mp4."""
    output = state.with_suffix("")
    return output if output.suffix else output.with_suffix(".mp4")
