"""`refilm draft`: the first steps of several seeds, to finish only the best."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from pydantic import Field

from refilm.cli.asking import Asked, Model, SamplingOptions, Wanted, asked
from refilm.cli.console import bar, print_line, working
from refilm.cli.options import with_options
from refilm.cli.recipe_options import Stored, stored
from refilm.cli.subject_options import SubjectOptions
from refilm.errors import UserError
from refilm.settings import Seed, Settings

if TYPE_CHECKING:
    from torch import Tensor

    from refilm.media import Video


class Drafting(Settings):
    """How many drafts are made, and where they are saved."""

    output: Annotated[Path, typer.Option("--output", "-o")] = Path("drafts")
    """Output folder: a state file for each seed, and sheet.png, which shows the clean estimates of all."""
    seeds: int = Field(default=10, ge=1, le=1000)
    """Number of drafts."""
    first_seed: Seed = 0
    """Seed of the first draft; the others follow it."""
    until: int = Field(default=8, ge=1, le=998)
    """Step after which sampling stops."""
    estimates: Literal["preview", "decoded"] | None = None
    """How the sheet shows the clean estimates: by the base model's linear preview, or decoded, which takes longer.
    Default: the preview, if the base model has one."""


PARTS = (Wanted, Drafting, Model, SamplingOptions)


@with_options(Wanted, Drafting, SubjectOptions, Model, SamplingOptions, stored(*PARTS, left=SubjectOptions))
def draft(
    wanted: Wanted, drafting: Drafting, chosen: SubjectOptions, model: Model, sampling: Settings, file: Stored
) -> None:
    """Sample several seeds for a few steps, show what they become, and save their states for `refilm finish`."""
    wish = asked(wanted, chosen, model, sampling, recipe=file.recipe)
    if drafting.until >= wish.request.steps:
        raise UserError(f"--until {drafting.until}: the run has {wish.request.steps} steps; stop before the last")
    from PIL import Image

    from refilm.generation.contact import sheet

    videos = _drafted(wish, drafting)
    captions = [f"seed {seed}: refilm finish {drafting.output / f'{seed}.state'}" for seed in videos]
    path = drafting.output / "sheet.png"
    Image.fromarray(sheet([*videos.values()], captions)).save(path)
    print_line(f"{path}: {len(videos)} drafts, step {drafting.until} of {wish.request.steps}")
    for caption in captions:
        print_line(caption)


def _drafted(wish: Asked, drafting: Drafting) -> dict[int, "Video"]:
    """The clean estimate of each seed; drafts that are saved already are not made again."""
    from refilm.generation.encodings import Encodings
    from refilm.generation.series import state_of
    from refilm.generation.states import load_state, save_state

    encodings, videos = Encodings(), {}
    drafting.output.mkdir(parents=True, exist_ok=True)
    with bar("sampling", drafting.seeds * drafting.until) as advance:
        for seed in range(drafting.first_seed, drafting.first_seed + drafting.seeds):
            run, path = wish.sampling(seed=seed, encodings=encodings), drafting.output / f"{seed}.state"
            known = state_of(run.recipes[0], path)
            if known is None or known.state.step.index + 1 != drafting.until:
                for _ in range(drafting.until):
                    next(run)
                    advance(f"seed {seed}")
                known = load_state(save_state(run, path))
            clean = known.state.step.clean
            videos[seed] = _shown(wish, clean, drafting.estimates)
    return videos


def _shown(wish: Asked, clean: "Tensor", how: str | None) -> "Video":
    """A clean estimate, (1, T, C, h, w), as a video."""
    base = wish.pipeline.base
    if how == "preview" and base.preview is None:
        raise UserError(f"--estimates preview: {base.name} has no preview; fit one with `refilm preview fit`")
    if base.preview is None or how == "decoded":
        with working("decoding"):
            return wish.pipeline.decode(clean.to(base.device))[0]
    return base.preview.video(clean[0], base.defaults.fps)
