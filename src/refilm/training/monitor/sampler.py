"""Videos of a transformer in training: at validations, from prompts and images that are encoded before the first step,
so that the text encoder does not stay in memory. Training is not disturbed.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from refilm.checkpoints import Base
from refilm.diffusion import Predict
from refilm.generation import Pipeline, Request
from refilm.geometry import Compression
from refilm.model import Adapter, Backbone, References
from refilm.training.batches.stream import Bucket


class VideoSizes(Protocol):
    """Settings of the videos; None selects the default."""

    @property
    def steps(self) -> int | None:
        """Number of sampler steps."""
        ...

    @property
    def frames(self) -> int | None:
        """Frames of a video."""
        ...

    @property
    def height(self) -> int | None:
        """Height in pixels."""
        ...

    @property
    def width(self) -> int | None:
        """Width in pixels."""
        ...


@dataclass(frozen=True)
class TrainingSampler:
    """Generates videos with the current weights. Created by `prepare_sampler`."""

    pipeline: Pipeline
    request: Request
    autocast: Callable[[], AbstractContextManager[Any]]
    """The context of the forward pass of adapter and transformer."""

    def latents(self, text: Tensor, tokens: Tensor | None, *, seed: int, request: Request | None = None) -> Tensor:
        """Latents of one video, (1, T, C, h, w).

        Args:
            text: the embedding of its prompt, (1, L, D).
            tokens: tokens of its reference images, (1, M, E). None: it has no reference.
            request: its settings. Default: the sampler's own.

        Raises:
            NotFiniteError: the numbers are not finite.
        """
        with in_eval_mode(self.pipeline.base.transformer):
            run = self.pipeline.sample(
                text,
                self._projected(tokens),
                seeds=[seed],
                request=request or self.request,
                wrap_prediction=self._autocast,
            )
            for _ in run:
                pass
        return run.latents

    @torch.no_grad()
    def _projected(self, tokens: Tensor | None) -> References | list[None]:
        """References, projected in the precision of the training: the adapter is float32 even where the transformer is
        not.
        """
        if tokens is None:
            return [None]
        assert self.pipeline.adapter is not None
        with self.autocast():
            return self.pipeline.adapter.references(tokens)

    def _autocast(self, predict: Predict, transformer: Backbone) -> Predict:
        """Predict in the precision of the training."""

        def predicted(latents: Tensor, timestep: float, guidance: float) -> Tensor:
            with self.autocast():
                return predict(latents, timestep, guidance)

        return predicted


def prepare_sampler(
    settings: VideoSizes,
    base: Base,
    transformer: Backbone,
    *,
    adapter: Adapter | None,
    learned: Bucket,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> TrainingSampler:
    """Prepare the generation of videos with a transformer in training.

    Args:
        base: provides encoders and autoencoder; load it with `memory="low"` to save memory.
        learned: latent frames, height and width of training clips, the default of the videos.
        autocast: the context of the transformer's forward pass in training.

    Raises:
        UserError: the model does not support the frames or the size.
    """
    base.compute_with(transformer, adapter)
    pipeline = Pipeline(base, adapter)
    request = pipeline.request(**geometry(settings, learned, base.compression), steps=settings.steps)
    request.latent_shape(base.size.channels, base.compression)
    return TrainingSampler(pipeline, request, autocast)


def geometry(settings: VideoSizes, learned: Bucket, compression: Compression) -> dict[str, int]:
    """Frames, height and width of the videos: as set, otherwise those of the training latents."""
    frames, height, width = learned
    own = {
        "frames": compression.frames(frames),
        "height": height * compression.space,
        "width": width * compression.space,
    }
    return own | {name: value for name in own if (value := getattr(settings, name)) is not None}


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
