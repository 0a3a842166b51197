"""Sample videos: generated from fixed prompts at validations with the current weights, saved in the run's folder."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from refilm.checkpoints import Base
from refilm.data.encoding import Subset
from refilm.errors import UserError
from refilm.media import as_image
from refilm.model import Adapter, Backbone
from refilm.training.batches.stream import Bucket
from refilm.training.batches.validation_set import chosen_clips
from refilm.training.monitor.expendable import Expendable
from refilm.training.monitor.sampler import TrainingSampler, prepare_sampler
from refilm.training.settings import SampleVideoSettings

FOLDER = "videos"


@dataclass(frozen=True)
class SampleVideos:
    """Generates the sample videos. Created by `prepare`."""

    sampler: TrainingSampler
    settings: SampleVideoSettings
    folder: Path
    text: Tensor
    """(B, L, D), one row per prompt."""
    references: Tensor | None
    """(B, M, E); None for a model without an adapter."""

    def due(self, validation: int) -> bool:
        """Whether the n-th validation has videos, counted from 1."""
        return validation % self.settings.every == 0

    def make(self, step: int, *, write: bool = True, expendable: Expendable | None = None) -> tuple[Path, ...]:
        """Generate the videos as MP4 files; the model does not change.

        Args:
            step: the training step, for the file names.
            write: whether this process writes the files, or only takes part in the computation.
            expendable: handles errors of videos that cannot be written; None: a new one.

        Raises:
            NotFiniteError: the numbers of a video are not finite; it is not written.
        """
        latents = [self._latents(number) for number in range(len(self.text))]  # in all processes, before any fails
        paths, expendable = [], expendable or Expendable()
        for number, made in enumerate(latents if write else ()):
            (video,) = self.sampler.pipeline.decode(made)
            with expendable("some of its videos"):
                self.folder.mkdir(parents=True, exist_ok=True)
                paths += video.save(self.folder / f"step-{step:08}-{number + 1}.mp4")
        return tuple(paths)

    def _latents(self, number: int) -> Tensor:
        """Latents of one video, (1, T, C, h, w)."""
        rows = slice(number, number + 1)
        tokens = None if self.references is None else self.references[rows]
        return self.sampler.latents(self.text[rows], tokens, seed=self.settings.seed + number)


def require_sample_videos(settings: SampleVideoSettings, base: Base) -> None:
    """Check that the sample videos can be generated.

    Raises:
        UserError: the number of images is not 0, 1 or that of the prompts; an image cannot be read; a prompt is too
            long.
    """
    count, given = len(settings.prompts), len(settings.references)
    if given not in (0, 1, count):
        raise UserError(
            f"videos.references: {given} images for {count} prompts; give one per prompt, one for all, or none"
        )
    for image in settings.references:
        as_image(image)
    if count:
        base.encoders.unread.text.tokens(settings.prompts)


def prepare(
    settings: SampleVideoSettings,
    base: Base,
    transformer: Backbone,
    *,
    adapter: Adapter | None,
    held_out: Subset,
    learned: Bucket,
    folder: Path,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> SampleVideos:
    """Encode prompts and images, and prepare sample videos with a transformer in training.

    Args:
        base: provides encoders and autoencoder; load it with `memory="low"` to save memory.
        held_out: validation clips, whose references are used if the settings give none.
        learned: latent frames, height and width of training clips, the default of the videos.
        folder: the run's folder.
        autocast: the context of the transformer's forward pass in training.

    Raises:
        UserError: as `require_sample_videos`; the model does not support the frames or the size.
    """
    require_sample_videos(settings, base)
    count, given = len(settings.prompts), len(settings.references)
    sampler = prepare_sampler(settings, base, transformer, adapter=adapter, learned=learned, autocast=autocast)
    with torch.no_grad():
        text = base.encoders.text(settings.prompts)
        if adapter is None:
            references = None
        elif given:
            references = base.encoders.image([as_image(settings.references[n % given]) for n in range(count)])
        else:
            clips = [held_out[clip] for clip in chosen_clips(len(held_out), count)]
            references = torch.stack([clip.references[0, 0] for clip in clips]).to(text)
    return SampleVideos(sampler, settings, folder / FOLDER, text, references)


def remove_later(folder: Path, step: int) -> None:
    """Remove the videos of later steps, before a run continues after `step`."""
    for path in folder.glob("step-*.mp4"):
        made = re.fullmatch(r"step-(\d{8,})-\d+\.mp4", path.name)
        if made and int(made[1]) > step:
            path.unlink()
