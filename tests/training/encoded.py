"""Critters encoded in memory by a base model's own encoders, and a task on them."""

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from refilm.checkpoints import Base, load_adapter, load_base
from refilm.data import critters
from refilm.data.encoding import EncodedClip, Entry
from refilm.model import Adapter
from refilm.sizes import AdapterSize
from refilm.training.diffusion import DiffusionSettings, DiffusionTask
from refilm.training.stream import ClipLesson
from refilm.training.validation import ValidationSettings


@dataclass
class Clips:
    """Encoded clips, as an `EncodedSet` has them."""

    clips: list[EncodedClip]
    entries: list[Entry]
    identity: str = "critters"

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int, /) -> EncodedClip:
        return self.clips[index]

    @property
    def buckets(self) -> dict[tuple[int, int, int], Tensor]:
        assert len({clip.mean.shape for clip in self.clips}) == 1
        frames, _, height, width = self.clips[0].mean.shape
        return {(frames, height, width): torch.arange(len(self.clips))}


def encode_critters(base: Base, count: int, *, split: critters.Split = "held_out", seed: int = 1) -> Clips:
    """Clips of as many subjects, two references each, captions without the looks."""
    stories = [critters.story(seed, index, split) for index in range(count)]
    films = torch.stack([torch.from_numpy(critters.draw_film(seed, index, split)) for index in range(count)])
    mean, std = base.encoders.autoencoder.posterior(films)
    text = base.encoders.text([story.caption for story in stories])
    portraits = [
        Image.fromarray(critters.draw_portrait(seed, index, split, number=number, size=2 * critters.SIZE))
        for index in range(count)
        for number in range(2)
    ]
    references = base.encoders.image(portraits).unflatten(0, (count, 2))[:, :, None]  # (n, R, 1, M, E)
    clips = [
        EncodedClip(mean[i].half(), 2 * std[i].log().half(), text[i : i + 1].half(), references[i].half(), None)
        for i in range(count)
    ]
    entries = [
        Entry(f"clip {i}", (story.caption,), story.subject.looks, f"clip {i}", "", (), ())
        for i, story in enumerate(stories)
    ]
    return Clips(clips, entries)


def task_on(clips: Clips, base_folder: Path | str, adapter: str = "fresh", **settings: object) -> DiffusionTask:
    """A task that learns from these clips and is validated on them.

    Args:
        adapter: `fresh`, or the base's `own`.
        settings: of `DiffusionSettings`.
    """
    base = load_base(base_folder, device="cpu", dtype="float32")
    if adapter == "own":
        assert base.adapter is not None
        made = load_adapter(base.adapter, dtype=torch.float32)
    else:
        torch.manual_seed(0)
        made = Adapter(AdapterSize.of(base.transformer.size, reference_dim=clips[0].references.shape[-1], query_norm=True))
    chosen = {
        "curriculum": (ClipLesson(until=1, latent_frames=5, batch=8),),
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
    )
