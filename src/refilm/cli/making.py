"""From a sampling run to a saved video, with progress, and a state file that outlives the process."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import Field

from refilm.cli.console import bar, clock, counted, named, print_error, print_line, terminal, working
from refilm.cli.stopping import Terminated, deferred
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
    """Steps after which the state of sampling is saved as NAME.state, for `refilm finish`. Default: only if the command
    is stopped by Ctrl-C or SIGTERM."""


def state_path(output: Path) -> Path:
    """The state file of a video that is being made."""
    return output.with_name(f"{output.name}.state")


@contextmanager
def leaving_state(sampling: "Sampling", output: Path) -> Iterator[None]:
    """Within the context a command that is stopped saves the state of its run, which makes the video `output`."""
    from refilm.generation.states import save_state

    try:
        yield
    except (KeyboardInterrupt, Terminated):
        if sampling.resumable:
            path = save_state(sampling, state_path(output))
            steps = f"step {sampling.done} of {sampling.request.steps}"
            print_error(f"{steps} is saved; continue with: refilm finish {path}")
        raise


def sampled(sampling: "Sampling", output: Path, every: int | None) -> None:
    """Run the remaining steps under a progress bar.

    Args:
        sampling: the run.
        output: the file of the video.
        every: steps after which the state is saved.
    """
    from refilm.generation.states import save_state

    steps, preview = sampling.request.steps, sampling.base.preview if terminal.is_terminal else None
    with bar("sampling", steps - sampling.done) as advance:
        while sampling.done < steps:
            with deferred():  # a step that is interrupted in the middle cannot be continued
                step = next(sampling)
            advance("sampling", _shown(preview, step))
            if every is not None and sampling.done % every == 0 and step.index + 1 < steps:
                save_state(sampling, state_path(output))
        next(sampling, None)  # its end


def _shown(preview: "LinearPreview | None", step: "SamplerStep") -> "np.ndarray | None":
    """The middle of the video as far as a step knows it, (h, w, 3)."""
    if preview is None:
        return None
    clean = step.clean[0]
    return preview.frames(clean[len(clean) // 2 :][:1])[0]


def made(pipeline: "Pipeline", sampling: "Sampling", output: Path, keeping: Keeping, *, started: float) -> "Video":
    """Sample, decode and save a video; a command that is stopped leaves its state. `started` is from `perf_counter`."""
    with leaving_state(sampling, output):
        sampled(sampling, output, keeping.save_state_every)
        return _saved(pipeline, sampling, output, keeping, started=started)


def _saved(pipeline: "Pipeline", sampling: "Sampling", output: Path, keeping: Keeping, *, started: float) -> "Video":
    """Decode and save the video of a finished run; its state file is removed."""
    from refilm.generation.recipe import save_with_recipe
    from refilm.generation.states import remove_state

    with working("decoding"):
        video = pipeline.decode(sampling.latents)[0]
        if keeping.metadata:
            recipe = sampling.finished_recipes()[0].model_copy(update={"scale": keeping.scale})
            files = save_with_recipe(video, recipe, output)
        else:
            files = video.save(output, scale=keeping.scale)
    remove_state(state_path(output))
    request, seed = sampling.request, sampling.seeds[0]
    what = f"{counted(request.frames, 'frame')} of {request.width} x {request.height} pixels"
    print_line(f"{named(files)}: {what}, seed {seed}, {clock(time.perf_counter() - started)}")
    return video
