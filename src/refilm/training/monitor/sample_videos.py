"""Videos of fixed prompts, made at validations by the weights as they are then, and kept in the run's folder.

Prompts and images are encoded once, before the first step, so that no text encoder stays in memory.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor, nn

from refilm.checkpoints import Base
from refilm.data.encoding import Subset
from refilm.generation import Pipeline, Request
from refilm.media import as_image
from refilm.model import Adapter, Transformer
from refilm.settings import Seed, Settings
from refilm.sizes import Compression
from refilm.training.batches.stream import Bucket
from refilm.training.batches.validation_set import chosen_clips
from refilm.training.monitor.expendable import Expendable

FOLDER = "videos"


class SampleVideoSettings(Settings):
    """Videos that a run makes of itself."""

    prompts: tuple[str, ...] = ()
    """What is filmed; none: no videos."""
    references: tuple[Path, ...] = ()
    """An image a prompt, or one for all of them; none: images of held-out clips."""
    every: int = Field(default=1, ge=1)
    """Validations from one time to the next; the last validation always has videos."""
    steps: int | None = Field(default=None, ge=1, le=999)
    """Sampler steps; left out: the base model's own default."""
    frames: int | None = Field(default=None, ge=1, le=10**6)
    """Frames of a video; left out: as many as the last lesson's clips have."""
    height: int | None = Field(default=None, ge=1, le=10**6)
    """Height in pixels; left out: that of the size that most clips have which are learned from."""
    width: int | None = Field(default=None, ge=1, le=10**6)
    """Width in pixels, likewise."""
    seed: Seed = 0
    """Of the first video; the others count on."""


@dataclass(frozen=True)
class SampleVideos:
    """Makes the videos. Encoded once, see `prepare`."""

    pipeline: Pipeline
    settings: SampleVideoSettings
    request: Request
    folder: Path
    text: Tensor
    """(B, L, D), a prompt a row."""
    references: Tensor | None
    """(B, M, E), or none for a model without an adapter."""

    def due(self, validation: int) -> bool:
        """Whether the n-th validation has videos."""
        return validation % self.settings.every == 0

    def make(self, step: int, *, write: bool = True, expendable: Expendable | None = None) -> tuple[Path, ...]:
        """Videos as MP4 files; the model is left as it was.

        Args:
            step: whose weights these are.
            write: whether this process writes them, or only takes part in computing.
            expendable: takes the errors of videos that cannot be written; none: a fresh one.

        Raises:
            FloatingPointError: a video whose numbers are not finite; it is not written.
        """
        with at_rest(self.pipeline.base.transformer):
            latents = [self._latents(number) for number in range(len(self.text))]  # by all processes, before any fails
        paths, expendable = [], expendable or Expendable()
        for number, made in enumerate(latents if write else ()):
            with torch.autocast(made.device.type, enabled=False):
                (video,) = self.pipeline.decode(made)
            with expendable("some of its videos"):
                self.folder.mkdir(parents=True, exist_ok=True)
                paths += video.save(self.folder / f"step-{step:08}-{number + 1}.mp4")
        return tuple(paths)

    def _latents(self, number: int) -> Tensor:
        """Of one video, (1, T, C, h, w)."""
        rows, latents = slice(number, number + 1), None
        references = [None] if self.references is None else self.references[rows]
        seeds = [self.settings.seed + number]
        for done in self.pipeline.sample(self.text[rows], references, seeds=seeds, request=self.request):
            latents = done.latents
        assert latents is not None
        return latents


def require_sample_videos(settings: SampleVideoSettings, base: Base) -> None:
    """That the videos can be made.

    Raises:
        ValueError: a number of images other than one, none, or one a prompt; an image that cannot be read; a prompt
            that is too long.
    """
    count, given = len(settings.prompts), len(settings.references)
    if given not in (0, 1, count):
        raise ValueError(f"videos.references: {given} images for {count} prompts; give one each, one for all, or none")
    for image in settings.references:
        as_image(image)
    if count:
        base.encoders.unread.text.tokens(settings.prompts)


def prepare(
    settings: SampleVideoSettings,
    base: Base,
    transformer: Transformer,
    *,
    adapter: Adapter | None,
    held_out: Subset,
    learned: Bucket,
    folder: Path,
) -> SampleVideos:
    """Encode prompts and images, and make ready to video with a transformer in training.

    Args:
        base: what else is needed, best with `memory="low"`.
        held_out: whose references are filmed where none are given.
        learned: latent frames, height and width of what is learned, and so of the videos where nothing else is said.
        folder: the run's.

    Raises:
        ValueError: as `require_sample_videos`; frames or a size that the model cannot make.
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
    return SampleVideos(pipeline, settings, request, folder / FOLDER, text, references)


def geometry(settings: SampleVideoSettings, learned: Bucket, compression: Compression) -> dict[str, int]:
    """Frames, height and width of videos: what is set, and otherwise that of the latents that are learned."""
    frames, height, width = learned
    own = {
        "frames": compression.frames(frames),
        "height": height * compression.space,
        "width": width * compression.space,
    }
    return own | {name: value for name in own if (value := getattr(settings, name)) is not None}


def remove_later(folder: Path, step: int) -> None:
    """Remove the videos of later steps, which a run that starts after `step` makes anew or has never come to."""
    for path in folder.glob("step-*.mp4"):
        made = re.fullmatch(r"step-(\d{8,})-\d+\.mp4", path.name)
        if made and int(made[1]) > step:
            path.unlink()


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Within the context a model is not in train mode; each of its modules is as it was afterwards."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training
