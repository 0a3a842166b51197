"""`refilm draft`: the first steps of several seeds, to finish only the best."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from pydantic import Field

from refilm.cli.asking import Asked, Model, SamplingOptions, Wanted, asked
from refilm.cli.console import bar, counted, print_line, working
from refilm.cli.options import with_options
from refilm.cli.recipe_options import Stored, stored
from refilm.cli.subject_options import SubjectOptions
from refilm.errors import UserError
from refilm.files import require_writable
from refilm.settings import Seed, Settings

if TYPE_CHECKING:
    from torch import Tensor

    from refilm.generation.encodings import Encodings
    from refilm.generation.recipe import VideoRecipe
    from refilm.generation.sampling import Sampling
    from refilm.media import Video

SHEET = "sheet.png"
FILES = r"(\d+)\.state"


class Drafting(Settings):
    """How many drafts are made, and where they are saved."""

    output: Annotated[Path, typer.Option("--output", "-o")] = Path("drafts")
    """Output folder: a state file for each seed, and sheet.png, which shows the clean estimates of all."""
    seeds: int = Field(default=10, ge=1, le=1000)
    """Number of drafts."""
    first_seed: Seed = 0
    """Seed of the first draft; the others follow it."""
    until: int = Field(default=8, ge=1, le=998)
    """Step after which sampling stops. Drafts that are saved already are continued to this step."""
    estimates: Literal["preview", "decoded"] | None = None
    """How the sheet shows the clean estimates: by the base model's linear preview, or decoded, which takes longer.
    Default: the preview, if the base model has one."""


PARTS = (Wanted, Drafting, Model, SamplingOptions)


@with_options(Wanted, Drafting, SubjectOptions, Model, SamplingOptions, stored(*PARTS, left=SubjectOptions))
def draft(
    wanted: Wanted, drafting: Drafting, chosen: SubjectOptions, model: Model, sampling: Settings, file: Stored
) -> None:
    """Sample several seeds for a few steps, show what they become, and save their states for `refilm finish`."""
    require_writable(drafting.output)
    wish = asked(wanted, chosen, model, sampling, recipe=file.recipe)
    if drafting.until >= wish.request.steps:
        raise UserError(f"--until {drafting.until}: the run has {wish.request.steps} steps; stop before the last")
    from PIL import Image

    from refilm.generation.contact import sheet

    drafts = _drafted(wish, drafting)
    captions = [f"seed {one.seed}: refilm finish {_file(drafting, one.seed)}" for one in drafts]
    path = drafting.output / SHEET
    Image.fromarray(sheet([one.estimate for one in drafts], captions)).save(path)
    steps = sorted({one.steps for one in drafts})
    reached = f"{'step' if len(steps) == 1 else 'steps'} {', '.join(map(str, steps))} of {wish.request.steps}"
    print_line(f"{path}: {counted(len(drafts), 'draft')}, {reached}")
    for caption in captions:
        print_line(caption)


@dataclass(frozen=True, eq=False)
class Draft:
    """What a seed has become after some steps."""

    seed: int
    steps: int
    estimate: "Video"
    """The clean estimate of the last step."""


def _drafted(wish: Asked, drafting: Drafting) -> list[Draft]:
    """The drafts, with their states saved. Those that are saved already go on from there, if they are not far enough.

    Raises:
        UserError: the output folder has drafts of another video.
    """
    from refilm.generation.encodings import Encodings
    from refilm.generation.series import require_same_series
    from refilm.generation.states import save_state

    encodings, drafts = Encodings(), []
    recipe = wish.sampling(seed=drafting.first_seed, encodings=encodings).recipes[0]

    def of_seed(seed: int | str) -> "VideoRecipe":
        return recipe.model_copy(update={"seed": int(seed)})

    require_same_series(drafting.output, FILES, of_seed, [SHEET])
    with bar("sampling", drafting.seeds * drafting.until) as advance:
        for seed in range(drafting.first_seed, drafting.first_seed + drafting.seeds):
            run = _continued(wish, of_seed(seed), _file(drafting, seed), encodings)
            if run.done < drafting.until:
                for _ in range(run.done, drafting.until):
                    next(run)
                    advance(f"seed {seed}")
                save_state(run, _file(drafting, seed))
            drafts.append(Draft(seed, run.done, _shown(wish, run.state().step.clean.cpu(), drafting.estimates)))
    return drafts


def _continued(wish: Asked, recipe: "VideoRecipe", path: Path, encodings: "Encodings") -> "Sampling":
    """A run of the recipe, from its state if the file has it."""
    from refilm.generation.series import state_of

    stored = state_of(recipe, path)
    state = None if stored is None else stored.state
    return wish.sampling(seed=recipe.seed, state=state, encodings=encodings)


def _file(drafting: Drafting, seed: int) -> Path:
    return drafting.output / f"{seed}.state"


def _shown(wish: Asked, clean: "Tensor", how: str | None) -> "Video":
    """A clean estimate, (1, T, C, h, w), as a video."""
    base = wish.pipeline.base
    if how == "preview" and base.preview is None:
        raise UserError(f"--estimates preview: {base.name} has no preview; fit one with `refilm preview fit`")
    if base.preview is None or how == "decoded":
        with working("decoding"):
            return wish.pipeline.decode(clean.to(base.device))[0]
    return base.preview.video(clean[0], base.defaults.fps)
