"""Videos made again from their recipes: the same base model, adapter, files, settings and seed."""

from collections.abc import Sequence
from pathlib import Path

import torch

from refilm.arguments import checked
from refilm.checkpoints import Memory
from refilm.control.records import Files
from refilm.errors import UserError
from refilm.generation.conditions import shot_of
from refilm.generation.encodings import Encodings
from refilm.generation.loading import load
from refilm.generation.pipeline import Pipeline
from refilm.generation.recipe import ModelRecord, VideoRecipe, adapter_fingerprint
from refilm.generation.sampling import SamplerState, Sampling


@checked
def load_for(
    recipe: VideoRecipe,
    *,
    base: str | Path | None = None,
    adapter: str | Path | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    memory: Memory = "high",
) -> Pipeline:
    """Load the base model and the adapter of a recipe.

    Args:
        recipe: the recipe of a video.
        base: where the base model is now. Default: where it was.
        adapter: where the adapter is now. Default: where it was.
        device: as in `refilm.load`. Default: that of the recipe, if this machine has it.
        dtype: as in `refilm.load`. Default: that of the recipe.
        memory: as in `refilm.load`.

    Raises:
        UserError: a model is missing, or has another fingerprint; names both.
    """
    recorded = recipe.made.device
    if device is None and (not recorded.startswith("cuda") or torch.cuda.is_available()):
        device = recorded
    source = None if recipe.adapter is None else adapter or recipe.adapter.source
    pipeline = load(
        base or recipe.base.source,
        adapter=source,
        image_encoder=recipe.image_encoder,
        device=device,
        dtype=dtype or recipe.made.dtype,
        memory=memory,
    )
    _require_same("base model", pipeline.base.name, recipe.base, pipeline.base.fingerprint(), option="--base")
    if recipe.adapter is not None:
        if pipeline.adapter is None:
            raise UserError(
                f"{pipeline.base.name}: has no adapter, the video was made with one; give it with --adapter"
            )
        _require_same("adapter", str(source), recipe.adapter, adapter_fingerprint(pipeline.adapter), option="--adapter")
    return pipeline


@checked
def sampling_of(
    pipeline: Pipeline,
    recipes: Sequence[VideoRecipe],
    *,
    references: Sequence[Path] = (),
    beside: Path | None = None,
    state: SamplerState | None = None,
    encodings: Encodings | None = None,
) -> Sampling:
    """A run that makes the videos of recipes, from its beginning or from a state.

    Args:
        pipeline: from `load_for`.
        recipes: one, or those of videos that were made together.
        references: folders with files that are not where they were.
        beside: the folder of the video or the state, to which relative paths may refer.
        state: from `load_state`, to run only the steps that follow it.
        encodings: for a series of videos, so that each prompt and each subject is encoded once.

    Raises:
        UserError: an image is missing or differs, or the recipes have different settings.
    """
    first = recipes[0]
    if any((one.settings, one.negative_subjects) != (first.settings, first.negative_subjects) for one in recipes):
        raise UserError("the recipes have different settings; make their videos one by one")
    files = Files(shot_of(pipeline.base, first.settings), references, beside=beside)
    return pipeline.sample(
        [one.prompt for one in recipes],
        [tuple(map(files.subject, one.subjects)) or None for one in recipes],
        seeds=[one.seed for one in recipes],
        request=first.settings,
        negative_reference=tuple(map(files.subject, first.negative_subjects)) or None,
        state=state,
        encodings=encodings,
    )


def _require_same(what: str, name: str, record: ModelRecord, found: str, *, option: str) -> None:
    if found != record.fingerprint:
        raise UserError(
            f"{name}: is another {what} (fingerprint {found}) than the one that made the video ({record.source}, "
            f"{record.fingerprint}); give that with {option}"
        )
