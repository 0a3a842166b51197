"""The pipeline: prompts and pictures through encoders, sampler and autoencoder to videos.

Letters: B videos, T latent frames, C latent channels, h x w latent pixels.
"""

import logging
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import ValidationError
from torch import Tensor, nn

from refilm.checkpoints import Base, Memory, load_adapter, load_base, read_card
from refilm.diffusion import COURSES, Condition, Predict, SamplerStep, StepCache, gaussian, guided, nothing, run
from refilm.generation.explain import Explanation
from refilm.generation.looks import Looks
from refilm.generation.request import Request
from refilm.media import Video, as_picture
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
from refilm.settings import explain

logger = logging.getLogger("refilm")

Picture = Path | str | Image.Image | np.ndarray

Advice = Callable[[Predict, Transformer], Predict]
"""What is put around the prediction of every step: it may watch it, or change the transformer meanwhile."""


class Pipeline:
    """A base model with, perhaps, an adapter, ready to make videos."""

    def __init__(self, base: Base, adapter: Adapter | None = None):
        self.base, self.adapter = base, adapter
        if adapter is not None and base.attached is not adapter:
            base.attach(adapter)

    def request(self, **settings: Any) -> Request:
        """The settings of a generation, completed by the base model's defaults; none counts as left out.

        Raises:
            ValueError: an unknown or impossible setting; says which and the value received.
        """
        given = {name: value for name, value in settings.items() if value is not None}
        try:
            return Request.model_validate({**self.base.defaults.request(), **given})
        except ValidationError as error:
            raise ValueError(explain(error, Request)) from error

    def generate(
        self, prompt: str, reference: Picture | None = None, *, seed: int | None = None, **settings: Any
    ) -> Video:
        """Make one video.

        Args:
            prompt: what happens where.
            reference: a picture of who or what appears: a path, a PIL image, or (H, W, 3) uint8.
            seed: the same seed makes the same video; none: a random one, which is logged.
            settings: any of `Request`: steps, guidance, reference_scale, frames, height, width, sampler, ...

        Raises:
            ValueError: a picture, prompt or setting that cannot be used; says what and how to mend it.
        """
        seed = random.randrange(2**31) if seed is None else seed
        logger.info("seed %d", seed)
        return self.generate_batch([prompt], [reference], seeds=[seed], **settings)[0]

    def generate_batch(
        self,
        prompts: Sequence[str] | Tensor,
        references: Sequence[Picture | None] | Tensor,
        *,
        seeds: Sequence[int],
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

    def sample(
        self,
        prompts: Sequence[str] | Tensor,
        references: Sequence[Picture | None] | Tensor,
        *,
        seeds: Sequence[int],
        request: Request,
        advice: Advice | None = None,
    ) -> Iterator[SamplerStep]:
        """The sampler's steps, one by one; the caller owns progress, preview and cancellation.

        Args:
            prompts: one a video; or their embeddings, (B, L, text_dim).
            references: a picture a video, or none for all; or the pictures' tokens, (B, M, reference_dim).
            seeds: one a video.
            request: the settings.
            advice: put around the prediction of every step, to watch it or to change it: `Looks`, for instance.

        Raises:
            ValueError: before the first step, if anything asked for is impossible.
        """
        if not len(prompts) == len(references) == len(seeds):
            raise ValueError(f"{len(prompts)} prompts, {len(references)} references, {len(seeds)} seeds: give as many")
        shape = request.latent_shape(self.base.size.channels, self.base.compression)
        self._check(request)
        condition, empty = self._conditions(prompts, references, request)
        transformer = self.base.transformer
        predict = guided(
            self._model(transformer, request.reference_scale),
            condition,
            unconditional=empty,
            guidance=COURSES[request.guidance_course](request.guidance, request.steps),
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

    def encode_references(self, references: Sequence[Picture | None] | Tensor) -> Tensor | None:
        """Tokens of the pictures, (B, M, E); none if there are none. Tokens stay what they are."""
        if isinstance(references, Tensor):
            return references
        pictures = [as_picture(reference) for reference in references if reference is not None]
        if not pictures:
            return None
        if len(pictures) < len(references):
            raise ValueError("a batch needs a reference for every prompt, or for none")
        if self.adapter is None:
            raise ValueError("a reference was given, but no adapter is loaded: give one with adapter=...")
        return self.base.encoders.image(pictures)

    def decode(self, latents: Tensor) -> list[Video]:
        """Latents (B, T, C, h, w) to videos."""
        return [
            Video(pixels.cpu().numpy(), self.base.defaults.fps)
            for one in latents
            for pixels in self.base.encoders.autoencoder.decode(one[None])
        ]

    def explain(self, looks: Looks, video: Video, reference: Picture, *, index: int = 0) -> Explanation:
        """Where a film looked in its reference picture.

        Args:
            looks: what was the `advice` to `sample` when it was made.
            video: the film.
            reference: its picture.
            index: which of the films made together it is.

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
        pixels = encoder.pixels([as_picture(reference)])[0] * std + mean
        picture = (pixels.clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
        return Explanation(video, picture.numpy(), looked)

    @torch.no_grad()
    def _conditions(
        self, prompts: Sequence[str] | Tensor, references: Sequence[Picture | None] | Tensor, request: Request
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


def load(
    source: str | Path = "pocket",
    *,
    adapter: str | Path | None = "default",
    device: str | None = None,
    dtype: str | None = None,
    memory: Memory = "high",
) -> Pipeline:
    """Load a base model and an adapter.

    Args:
        source: `pocket`, the small model that ships; a Hub id, such as `THUDM/CogVideoX-2b`; or a folder, in diffusers'
            layout or the research code's (a SAT checkpoint with its autoencoder, and a T5).
        adapter: an adapter's folder; `default`: the one that comes with the base, if any; none: the bare model.
        device: `cpu`, `cuda`, ...; none: a GPU if there is one.
        dtype: `float32`, `bfloat16` or `float16`; none: float32 on a CPU, bfloat16 on a GPU.
        memory: `low`: the model's parts are loaded one after another, when needed, and freed; `high`: they stay.

    Raises:
        ValueError: there is no such model, or it cannot be read; says what and where.
    """
    base = load_base(source, device=device, dtype=dtype, memory=memory)
    folder = base.adapter if adapter == "default" else adapter
    if folder is None:
        return Pipeline(base)
    loaded = load_adapter(folder, dtype=base.dtype, base_fingerprint=base.fingerprint())
    card = read_card(folder)
    base.read_pictures_with(card.image_encoder, card.picture_fit, card.hidden_state)
    return Pipeline(base, loaded.to(base.device))
