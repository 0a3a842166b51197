"""Sample videos: generated from fixed prompts at validations with the current weights, and saved in the run's folder.

Prompts and images are encoded once, before the first step, so that the text encoder does not stay in memory.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from refilm.checkpoints import Base
from refilm.data.encoding import Subset
from refilm.diffusion import Predict
from refilm.errors import UserError
from refilm.generation import Pipeline, Request
from refilm.geometry import Compression
from refilm.media import as_image
from refilm.model import Adapter, Backbone, References
from refilm.training.batches.stream import Bucket
from refilm.training.batches.validation_set import chosen_clips
from refilm.training.monitor.expendable import Expendable
from refilm.training.settings import SampleVideoSettings

FOLDER = "videos"


@dataclass(frozen=True)
class SampleVideos:
    """Generates the sample videos. Created by `prepare`."""

    pipeline: Pipeline
    settings: SampleVideoSettings
    request: Request
    folder: Path
    text: Tensor
    """(B, L, D), one row per prompt."""
    references: Tensor | None
    """(B, M, E); None for a model without an adapter."""
    autocast: Callable[[], AbstractContextManager[Any]]
    """The context of the forward pass of adapter and transformer."""

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
        with in_eval_mode(self.pipeline.base.transformer):
            latents = [
                self._latents(number) for number in range(len(self.text))
            ]  # in all processes, before any of them fails
        paths, expendable = [], expendable or Expendable()
        for number, made in enumerate(latents if write else ()):
            (video,) = self.pipeline.decode(made)
            with expendable("some of its videos"):
                self.folder.mkdir(parents=True, exist_ok=True)
                paths += video.save(self.folder / f"step-{step:08}-{number + 1}.mp4")
        return tuple(paths)

    def _latents(self, number: int) -> Tensor:
        """Latents of one video, (1, T, C, h, w)."""
        rows, latents = slice(number, number + 1), None
        seeds = [self.settings.seed + number]
        steps = self.pipeline.sample(
            self.text[rows], self._projected(rows), seeds=seeds, request=self.request, wrap_prediction=self._autocast
        )
        for done in steps:
            latents = done.latents
        assert latents is not None
        return latents

    @torch.no_grad()
    def _projected(self, rows: slice) -> References | list[None]:
        """References of some videos, projected in the precision of the training: the adapter is float32 even where the
        transformer is not.
        """
        if self.references is None:
            return [None]
        assert self.pipeline.adapter is not None
        with self.autocast():
            return self.pipeline.adapter.references(self.references[rows])

    def _autocast(self, predict: Predict, transformer: Backbone) -> Predict:
        """Predict in the precision of the training."""

        def predicted(latents: Tensor, timestep: float, guidance: float) -> Tensor:
            with self.autocast():
                return predict(latents, timestep, guidance)

        return predicted


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
    base.compute_with(transformer, adapter)
    pipeline = Pipeline(base, adapter)
    request = pipeline.request(**geometry(settings, learned, base.compression), steps=settings.steps)
    request.latent_shape(base.size.channels, base.compression)
    with torch.no_grad():
        text = base.encoders.text(settings.prompts)
        if adapter is None:
            references = None
        elif given:
            references = base.encoders.image([as_image(settings.references[n % given]) for n in range(count)])
        else:
            clips = [held_out[clip] for clip in chosen_clips(len(held_out), count)]
            references = torch.stack([clip.references[0, 0] for clip in clips]).to(text)
    return SampleVideos(pipeline, settings, request, folder / FOLDER, text, references, autocast)


def geometry(settings: SampleVideoSettings, learned: Bucket, compression: Compression) -> dict[str, int]:
    """Frames, height and width of the videos: as set, otherwise those of the training latents."""
    frames, height, width = learned
    own = {
        "frames": compression.frames(frames),
        "height": height * compression.space,
        "width": width * compression.space,
    }
    return own | {name: value for name in own if (value := getattr(settings, name)) is not None}


def remove_later(folder: Path, step: int) -> None:
    """Remove the videos of later steps, before a run continues after `step`."""
    for path in folder.glob("step-*.mp4"):
        made = re.fullmatch(r"step-(\d{8,})-\d+\.mp4", path.name)
        if made and int(made[1]) > step:
            path.unlink()


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Within the context a model is in eval mode; afterwards each module has its previous mode."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training
