"""Files of sampler states: a run of videos that was stopped after some step, in one safetensors file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field
from torch import Tensor

from refilm.arguments import checked
from refilm.diffusion import SamplerStep
from refilm.errors import UserError
from refilm.files import atomic_file, remove_unfinished
from refilm.generation.recipe import VideoRecipe
from refilm.generation.sampling import SamplerState, Sampling
from refilm.settings import Settings
from refilm.weights.cards import read_card
from refilm.weights.tensors import Piece, TensorFiles, save_tensors

FORMAT = 1
KEY = "refilm_state"
SUFFIX = ".state"
AGAIN = "generate the video again"


class StateCard(Settings):
    """What a state file says about its tensors."""

    format: int = Field(default=FORMAT, ge=1, le=1000)
    """Version of the layout."""
    index: int = Field(ge=0, le=10**6)
    """Index of the last step, from 0."""
    steps: int = Field(ge=1, le=10**6)
    """Number of steps of the run."""
    timestep: float = Field(ge=-1, le=10**6)
    """The timestep of the last step."""
    passes: int = Field(ge=0, le=10**9)
    """Transformer passes so far."""
    metadata: bool = True
    """Whether the videos will carry their recipes."""
    recipes: tuple[VideoRecipe, ...] = Field(min_length=1, max_length=1000)
    """The recipe of each video."""


@dataclass(frozen=True, eq=False)
class SavedRun:
    """A run from a state file."""

    recipes: tuple[VideoRecipe, ...]
    """The recipe of each video."""
    state: SamplerState
    """Where to go on."""
    metadata: bool = True
    """Whether the videos were to carry their recipes."""


@checked
def save_state(sampling: Sampling, path: Path | str, *, metadata: bool = True) -> Path:
    """Write the state of a run after its last step, atomically; an existing file is replaced.

    Args:
        sampling: the run.
        path: the file; its name ends in .state.
        metadata: whether the videos will carry their recipes. The state contains them anyway.

    Raises:
        UserError: the name does not end in .state, no step is done yet, or the videos have no recipe.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise UserError(f"{path}: the name of a state file must end in {SUFFIX}")
    if not sampling.recipes:
        raise UserError(f"{path}: a run from embeddings has no recipe to be continued with; give prompts and images")
    state = sampling.state()
    step = state.step
    card = StateCard(
        index=step.index,
        steps=step.steps,
        timestep=step.timestep,
        passes=state.passes,
        metadata=metadata,
        recipes=sampling.recipes,
    )
    tensors = {"latents": step.latents, "clean": step.clean}
    tensors |= _numbered("earlier", step.earlier) | _numbered("generator", state.generators)
    tensors |= {f"memory:{name}": tensor for name, tensor in state.memories.items()}
    stored = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_file(path) as temporary:
        save_tensors(stored, temporary, about={KEY: json.dumps(card.to_values(), ensure_ascii=False)})
    return path


def remove_state(path: Path) -> None:
    """Remove the state file of a video that is written, and what a process that was killed while it saved it left."""
    path.unlink(missing_ok=True)
    remove_unfinished(path)


@checked
def load_state(path: Path | str) -> SavedRun:
    """Read a state file; its tensors are on the CPU, and a run moves them to its own device.

    Raises:
        UserError: it is missing, damaged, not a state file, or of a later version; names the file.
    """
    path = Path(path)
    card = _card(path)
    files = TensorFiles([path])
    tensors = {name: files.read([Piece(name)], dtype=None, device="cpu") for name in files}
    try:
        step = SamplerStep(
            card.index, card.steps, card.timestep, tensors["latents"], tensors["clean"], _all(tensors, "earlier")
        )
    except KeyError as error:
        raise UserError(f"{path}: has no {error.args[0]}; {AGAIN}") from error
    generators = _all(tensors, "generator")
    latents = (step.latents, step.clean, *step.earlier)
    fits = len(step.latents) == len(generators) == len(card.recipes) and card.index < card.steps
    if not fits or any(one.shape != step.latents.shape or not one.is_floating_point() for one in latents):
        raise UserError(f"{path}: its tensors do not fit each other; {AGAIN}")
    memories = {n.removeprefix("memory:"): tensor for n, tensor in tensors.items() if n.startswith("memory:")}
    return SavedRun(card.recipes, SamplerState(step, generators, memories, card.passes), card.metadata)


def _numbered(name: str, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    return {f"{name}.{number}": tensor for number, tensor in enumerate(tensors)}


def _all(tensors: Mapping[str, Tensor], name: str) -> tuple[Tensor, ...]:
    count = sum(key.startswith(f"{name}.") for key in tensors)
    return tuple(tensors[f"{name}.{number}"] for number in range(count))


def _card(path: Path) -> StateCard:
    return read_card(
        path,
        StateCard,
        key=KEY,
        what="state file",
        version=FORMAT,
        made_by="`refilm draft` and interrupted videos have one, until the video is written",
        again=AGAIN,
    )
