"""Critters encoded by a base model's own encoders, and a task on them."""

from pathlib import Path

import torch

from refilm.checkpoints import fingerprint, load_adapter, load_base
from refilm.data.drawn import Critters
from refilm.data.encoding import EncodedSet, EncodeSettings, Subset, encode, identify
from refilm.data.samples import Source
from refilm.geometry import AdapterSize
from refilm.model import Adapter
from refilm.training.settings import ClipLesson, DiffusionSettings, TrainSettings, ValidationSettings
from refilm.training.tasks.diffusion import DiffusionTask


def encoded(base_folder: Path | str, cache: Path, source: Source | int) -> EncodedSet:
    """Clips of a source, or so many of critters that no training clip shows."""
    base = load_base(base_folder, device="cpu", dtype="float32")
    source = Critters(source, "held_out", seed=1) if isinstance(source, int) else source
    videos = base.defaults.model_dump(include={"frames", "fps", "height", "width"})
    settings = EncodeSettings(**videos, workers=1)
    identity = identify(base.encoders, fingerprint)
    for _ in encode(source, base.encoders, cache, settings=settings, encoder_identity=identity):
        pass
    return EncodedSet(cache)


def task_on(
    clips: Subset,
    base_folder: Path | str,
    adapter: str = "fresh",
    training: TrainSettings | None = None,
    **settings: object,
) -> DiffusionTask:
    """A task that learns from these clips and is validated on them.

    Args:
        adapter: `fresh`, or the base's `own`.
        training: what trains; none: the adapter alone.
        settings: of `DiffusionSettings`.
    """
    base = load_base(base_folder, device="cpu", dtype="float32")
    if adapter == "own":
        assert base.adapter is not None
        made = load_adapter(base.adapter, dtype=torch.float32)
    else:
        torch.manual_seed(0)
        reference_dim = clips[0].references.shape[-1]
        made = Adapter(AdapterSize.of(base.transformer.size, reference_dim=reference_dim, query_norm=True))
    chosen = {
        "captions": (1.0, 0.0),
        "curriculum": (ClipLesson(until=1, batch=8),),
        "validation": ValidationSettings(samples=32),
        **settings,
    }
    return DiffusionTask(
        DiffusionSettings.model_validate(chosen),
        base.transformer,
        base.schedule,
        adapter=made,
        train=clips,
        held_out=clips,
        training=training,
    )
