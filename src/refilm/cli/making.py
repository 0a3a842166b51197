"""From a sampling run to a saved video, with progress, and a state file that outlives the process."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer
from pydantic import Field

from refilm.cli.console import bar, clock, counted, named, print_error, print_line, terminal, working
from refilm.cli.stopping import deferred
from refilm.errors import UserError
from refilm.settings import Settings

if TYPE_CHECKING:
    import numpy as np

    from refilm.diffusion import SamplerStep
    from refilm.generation import Pipeline
    from refilm.generation.sampling import Sampling
    from refilm.media import Video
    from refilm.previews import LinearPreview


class Keeping(Settings):
    """What is kept beside the video."""

    scale: int | None = Field(default=None, ge=1, le=64)
    """Integer factor by which the saved video is enlarged. Default: enough for 256 pixels; 1 for .png."""
    metadata: Annotated[bool, typer.Option("--metadata/--no-metadata")] = True
    """Store the recipe of the video in its metadata and as JSON beside it, for `refilm rerun`."""
    save_state_every: int | None = Field(default=None, ge=1, le=999)
    """Steps after which the state of sampling is saved as OUTPUT.state, for `refilm finish`. Default: only if the
    command does not come to its end."""


@dataclass(frozen=True)
class StateFile:
    """Where the state of a run is saved until its video is written."""

    path: Path
    every: int | None
    """Steps after which it is saved; None: only if the command does not come to its end."""
    metadata: bool = True
    """Whether the video will carry its recipe."""

    @classmethod
    def of(cls, output: Path, keeping: "Keeping") -> Self:
        """The state file of a video: fox.mp4 -> fox.mp4.state."""
        return cls(state_path(output), keeping.save_state_every, keeping.metadata)

    def save(self, sampling: "Sampling") -> None:
        """Save the state of a run after its last step."""
        from refilm.generation.states import save_state

        save_state(sampling, self.path, metadata=self.metadata)


def state_path(output: Path) -> Path:
    """The state file of a video that is being made."""
    return output.with_name(f"{output.name}.state")


def require_free(output: Path, *, own: Path | None = None) -> None:
    """Check that a video can be written; a note says what it replaces.

    Args:
        output: the file of the video.
        own: the state file that the video is made from.

    Raises:
        UserError: it cannot, or the state of an interrupted video is saved where that of this one would be.
    """
    from refilm.media import check_target, existing_files

    check_target(output)
    if (state := state_path(output)).exists() and not (own is not None and own.samefile(state)):
        raise UserError(
            f"{state}: an interrupted video is saved there; continue it with `refilm finish {state}`, or remove it"
        )
    if existing := existing_files(output):
        print_error(f"note: {named(existing)} will be replaced")


@contextmanager
def leaving_state(sampling: "Sampling", state: StateFile) -> Iterator[None]:
    """Within the context, a run that is stopped, or that an error ends after sampling, leaves its state."""
    try:
        yield
    except BaseException:
        if sampling.resumable:
            step = f"step {sampling.done} of {sampling.request.steps}"
            try:
                state.save(sampling)
                print_error(f"{step} is saved; continue with: refilm finish {state.path}")
            except (OSError, UserError) as error:
                print_error(f"{step} cannot be saved: {error}")
        raise


def sampled(sampling: "Sampling", state: StateFile) -> None:
    """Run the remaining steps under a progress bar."""
    steps, preview = sampling.request.steps, sampling.base.preview if terminal.is_terminal else None
    with bar("sampling", steps - sampling.done) as advance:
        while sampling.done < steps:
            with deferred():  # a step that is interrupted in the middle cannot be continued
                step = next(sampling)
            advance("sampling", _shown(preview, step))
            if state.every is not None and sampling.done % state.every == 0 and sampling.done < steps:
                state.save(sampling)
        next(sampling, None)  # its end


def _shown(preview: "LinearPreview | None", step: "SamplerStep") -> "np.ndarray | None":
    """The middle of the video as far as a step knows it, (h, w, 3)."""
    if preview is None:
        return None
    clean = step.clean[0]
    return preview.frames(clean[len(clean) // 2 :][:1])[0]


def made(
    pipeline: "Pipeline",
    sampling: "Sampling",
    output: Path,
    keeping: Keeping,
    *,
    started: float,
    state: StateFile | None = None,
) -> "Video":
    """Sample, decode and save a video; a run that does not come to its end leaves its state.

    Args:
        pipeline: the model.
        sampling: the run.
        output: the file of the video.
        keeping: what is kept beside it.
        started: when the command began, from `time.perf_counter`.
        state: its state file, if it has another name than that of the video.
    """
    from refilm.generation.states import remove_state

    state = state or StateFile.of(output, keeping)
    sampling.recipes = tuple(one.model_copy(update={"scale": keeping.scale}) for one in sampling.recipes)
    with leaving_state(sampling, state):
        sampled(sampling, state)
        with working("decoding"):
            video = pipeline.decode(sampling.latents)[0]
            files = _saved(video, sampling, output, keeping)
    remove_state(state.path)
    request, seed = sampling.request, sampling.seeds[0]
    what = f"{counted(request.frames, 'frame')} of {request.width} x {request.height} pixels"
    print_line(f"{named(files)}: {what}, seed {seed}, {clock(time.perf_counter() - started)}")
    return video


def _saved(video: "Video", sampling: "Sampling", output: Path, keeping: Keeping) -> list[Path]:
    from refilm.generation.recipe import save_with_recipe, save_without_recipe

    if keeping.metadata:
        return save_with_recipe(video, sampling.finished_recipes()[0], output)
    return save_without_recipe(video, output, scale=keeping.scale)
