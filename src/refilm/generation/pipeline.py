"""The pipeline: prompts and images through encoders, sampler and autoencoder to videos.

Letters: B videos, T latent frames, C latent channels, h x w latent pixels.
"""

import logging
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from PIL import Image
from pydantic import PlainValidator, ValidationError
from torch import Tensor, nn

from refilm.arguments import checked, plain
from refilm.checkpoints import Base
from refilm.diffusion import (
    GUIDANCE_SCHEDULES,
    Condition,
    Predict,
    SamplerStep,
    StepCache,
    gaussian,
    guided,
    nothing,
    run,
)
from refilm.generation.answering import Answering
from refilm.generation.attention_maps import AttentionMaps
from refilm.generation.doubts import doubts
from refilm.generation.embeddings import require_embeddings
from refilm.generation.explain import Explanation
from refilm.generation.request import Prompt, Request, Text
from refilm.media import Video, as_image
from refilm.model import (
    KERNELS,
    Adapter,
    JointAttention,
    ReferenceAttention,
    Transformer,
    Trunk,
    require_finite,
    swapped,
)
from refilm.names import known_elsewhere
from refilm.settings import Seed, explain

logger = logging.getLogger("refilm")

ImageLike = Annotated[Path | str | Image.Image | np.ndarray, PlainValidator(lambda value: value)]
"""What `as_image` takes, which refuses all else."""

WrapPrediction = Callable[[Predict, Transformer], Predict]
"""What is put around the prediction of every step: it may watch it, or change the transformer meanwhile."""


class Pipeline(Answering):
    """A base model with, perhaps, an adapter, ready to make videos. `refilm.load` makes one.

    `generate` makes a video, `generate_batch` several, `sample` goes step by step. Names that diffusers' pipelines
    have are answered with what does the same here.

    Args:
        base: the base model.
        adapter: what puts references into videos; attached to the base's transformer unless it is already.

    Raises:
        ValueError: the adapter does not fit, or another is attached.
    """

    @checked
    def __init__(self, base: Base, adapter: Adapter | None = None):
        self.base, self.adapter = base, adapter
        self.adapter_name: str | None = None
        """Where the adapter came from, where that is known."""
        if adapter is not None and base.attached is not adapter:
            base.attach(adapter)

    def __repr__(self) -> str:
        made, size = self.base.defaults, self.base.size
        adapter = "none" if self.adapter is None else self.adapter_name or "one in memory"
        return (
            f"Pipeline(base {self.base.name}, adapter {adapter}, {self.base.device}, "
            f"{str(self.base.dtype).removeprefix('torch.')}, {size.layers} layers of {size.width} channels, "
            f"{made.frames} frames of {made.width} x {made.height} pixels at {made.fps:g} fps)"
        )

    def request(self, **settings: Any) -> Request:
        """The settings of a generation, completed by the base model's defaults; none counts as left out.

        Raises:
            ValueError: an unknown or impossible setting; says which and the value received.
        """
        given = {name: plain(value) for name, value in settings.items() if value is not None}
        for name in given.keys() - Request.model_fields.keys():
            if answer := known_elsewhere(name):
                raise ValueError(answer)
        try:
            return Request.model_validate({**self.base.defaults.request(), **given})
        except ValidationError as error:
            raise ValueError(explain(error, Request)) from error

    @checked
    def generate(
        self, prompt: Prompt, reference: ImageLike | None = None, *, seed: Seed | None = None, **settings: Any
    ) -> Video:
        """Make one video.

        Args:
            prompt: what happens where.
            reference: an image of who or what appears: a path, a PIL image, or (H, W, 3) uint8.
            seed: the same seed, from 0 up, makes the same video; none: a random one, which is logged.
            settings: any of `Request`: steps, guidance, reference_scale, frames, height, width, sampler, ...

        Raises:
            ValueError: an image, prompt or setting that cannot be used; says what and how to mend it.
            FloatingPointError: numbers left the range of the dtype; names the part.
        """
        seed = random.randrange(2**31) if seed is None else seed
        logger.info("seed %d", seed)
        for doubt in doubts(self.base, prompt):
            logger.warning(doubt)
        return self.generate_batch([prompt], [reference], seeds=[seed], **settings)[0]

    @checked
    def generate_batch(
        self,
        prompts: Sequence[Text] | Tensor,
        references: Sequence[ImageLike | None] | Tensor,
        *,
        seeds: Sequence[Seed],
        **settings: Any,
    ) -> list[Video]:
        """Make several videos at once; each is what `generate` makes with its seed. All have a reference, or none.

        Prompts and references may also be encoded already, see `sample`.
        """
        request = self.request(**settings)
        latents = None
        for step in self.sample(prompts, references, seeds=seeds, request=request):
            latents = step.latents
        assert latents is not None
        return self.decode(latents)

    @checked
    def sample(
        self,
        prompts: Sequence[Text] | Tensor,
        references: Sequence[ImageLike | None] | Tensor,
        *,
        seeds: Sequence[Seed],
        request: Request,
        advice: WrapPrediction | None = None,
    ) -> Iterator[SamplerStep]:
        """The sampler's steps, one by one; the caller owns progress, preview and cancellation.

        Args:
            prompts: one a video; or their embeddings, (B, L, text_dim).
            references: an image a video, or none for all; or the images' tokens, (B, M, reference_dim).
            seeds: one a video.
            request: the settings.
            advice: put around the prediction of every step, to watch it or to change it: `AttentionMaps`, for instance.

        Raises:
            ValueError: before the first step, if anything asked for is impossible.
            FloatingPointError: numbers left the range of the dtype; names the part.
        """
        if not len(prompts) == len(references) == len(seeds) > 0:
            raise ValueError(
                f"{len(prompts)} prompts, {len(references)} references, {len(seeds)} seeds: "
                "give as many of each, and one at least"
            )
        require_embeddings("prompts", prompts, width=self.base.size.text_dim)
        width = None if self.adapter is None else self.adapter.size.reference_dim
        require_embeddings("references", references, width=width)
        shape = request.latent_shape(self.base.size.channels, self.base.compression)
        self._check(request)
        condition, empty = self._conditions(prompts, references, request)
        transformer = self.base.transformer
        predict = guided(
            self._model(transformer, request.reference_scale),
            condition,
            unconditional=empty,
            guidance=GUIDANCE_SCHEDULES[request.guidance_schedule](request.guidance, request.steps),
        )
        if advice is not None:
            predict = advice(predict, transformer)
        cache = StepCache(request.step_cache) if request.step_cache else None
        predict = self._equipped(predict, transformer, request, cache)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        draw = gaussian((len(prompts), *shape), generators, device=self.base.device)
        yield from run(request.sampler, predict, schedule=self.base.schedule, steps=request.steps, draw=draw)
        if cache is not None:
            logger.info("step cache: %d of %d runs of the transformer's blocks left out", cache.skipped, cache.asked)

    @checked
    def encode_references(self, references: Sequence[ImageLike | None] | Tensor) -> Tensor | None:
        """Tokens of the images, (B, M, E); none if there are none. Tokens stay what they are."""
        if isinstance(references, Tensor):
            return references
        images = [as_image(reference) for reference in references if reference is not None]
        if not images:
            return None
        if len(images) < len(references):
            raise ValueError("a batch needs a reference for every prompt, or for none")
        if self.adapter is None:
            raise ValueError("a reference was given, but no adapter is loaded: give one with adapter=...")
        return self.base.encoders.image(images)

    @checked
    def decode(self, latents: Tensor) -> list[Video]:
        """Latents (B, T, C, h, w) to videos."""
        return [
            Video(pixels.cpu().numpy(), self.base.defaults.fps)
            for one in latents
            for pixels in self.base.encoders.autoencoder.decode(one[None])
        ]

    @checked
    def explain(self, looks: AttentionMaps, video: Video, reference: ImageLike, *, index: int = 0) -> Explanation:
        """Where a video looked in its reference image.

        Args:
            looks: what was the `advice` to `sample` when it was made.
            video: the video.
            reference: its image.
            index: which of the videos made together it is.

        Raises:
            ValueError: nothing looked at a reference, or its tokens are not a class token and a square of patches.
        """
        weights = looks.blocks()[:, index].mean(dim=0)  # (N, M)
        side = math.isqrt(weights.shape[1] - 1)
        if side**2 != weights.shape[1] - 1:
            raise ValueError(f"{weights.shape[1]} reference tokens are not a class token and a square of patches")
        frames, height, width, _ = video.frames.shape
        latent = self.base.compression.latent_frames(frames), *self.base.compression.latent_size(height, width)
        weights = weights[:, 1:] / weights[:, 1:].sum(dim=1, keepdim=True)
        looked = weights.view(*self.base.size.grid(*latent), side, side)
        encoder = self.base.encoders.image
        normal = encoder.processor.to_dict()
        mean, std = (torch.tensor(normal[name]).view(3, 1, 1) for name in ("image_mean", "image_std"))
        pixels = encoder.pixels([as_image(reference)])[0] * std + mean
        image = (pixels.clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
        return Explanation(video, image.numpy(), looked)

    @torch.no_grad()
    def _conditions(
        self, prompts: Sequence[str] | Tensor, references: Sequence[ImageLike | None] | Tensor, request: Request
    ) -> tuple[Condition, Condition]:
        """What is asked for, and what guidance leads away from. References are projected already."""
        reference = self.encode_references(references)
        if reference is not None:
            assert self.adapter is not None
            require_finite(reference, maker="the image encoder")
            reference = self.adapter.projection(reference) if request.reference_scale else None  # (B, M, D)
        asked = Condition(prompts if isinstance(prompts, Tensor) else self._text(prompts), reference)
        empty = nothing(request.sampler, asked)
        if request.negative_prompt is not None:
            empty = replace(empty, text=self._text([request.negative_prompt]))
        return asked, empty

    def _text(self, prompts: Sequence[str]) -> Tensor:
        return require_finite(self.base.encoders.text(prompts), maker="the text encoder")

    def _model(self, transformer: Transformer, reference_scale: float):
        dtype = self.base.dtype

        def model(latents: Tensor, timesteps: Tensor, text: Tensor, reference: Tensor | None, /) -> Tensor:
            return transformer(latents.to(dtype), timesteps, text, reference, reference_scale=reference_scale)

        return model

    def _equipped(
        self, predict: Predict, transformer: Transformer, request: Request, cache: StepCache | None
    ) -> Predict:
        """The same, with the model as the request wants it, while it is asked: between steps it is as it was."""
        if cache is not None and transformer.trunk.around is not None:
            raise ValueError("step_cache: the trunk has advice around it already; take that away, or set step_cache=0")

        def equipped(latents: Tensor, timestep: int, share: float) -> Tensor:
            with torch.inference_mode(), self._swapped(transformer, request, cache):
                return predict(latents, timestep, share)

        return equipped

    @contextmanager
    def _swapped(self, transformer: Transformer, request: Request, cache: StepCache | None) -> Iterator[None]:
        kinds = [JointAttention] if self.adapter is None else [JointAttention, ReferenceAttention]
        with ExitStack() as stack:
            if self.adapter is not None:  # references come projected, see `_conditions`
                stack.enter_context(swapped(transformer, Transformer, reference_projection=lambda _: nn.Identity()))
            if request.kernel is not None:
                kernel = KERNELS[request.kernel]
                for kind in kinds:
                    stack.enter_context(swapped(transformer, kind, kernel=lambda _: kernel))
            if cache is not None:
                stack.enter_context(swapped(transformer, Trunk, around=lambda _: cache))
            yield

    def _check(self, request: Request) -> None:
        """Refuse what cannot work before any work begins."""
        if request.kernel is not None:
            heads = torch.zeros(1, 1, 8, self.base.size.head_dim, device=self.base.device)
            KERNELS[request.kernel](*[heads.to(self.base.dtype)] * 3)
