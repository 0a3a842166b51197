"""The pipeline: prompts and pictures through encoders, sampler and autoencoder to videos.

Letters: B videos, T latent frames, C latent channels, h x w latent pixels.
"""

import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import ValidationError
from torch import Tensor, nn

from refilm.checkpoints import Base, load_adapter, load_base
from refilm.diffusion import COURSES, Advice, Condition, Predict, SamplerStep, StepCache, gaussian, guided, run
from refilm.generation.request import Request
from refilm.media import Video, as_picture
from refilm.model import KERNELS, Adapter, JointAttention, ReferenceAttention, Transformer, Trunk, swapped
from refilm.settings import explain

logger = logging.getLogger("refilm")

Picture = Path | str | Image.Image | np.ndarray


class Pipeline:
    """A base model with, perhaps, an adapter, ready to make videos."""

    def __init__(self, base: Base, adapter: Adapter | None = None):
        self.base, self.adapter = base, adapter
        if adapter is not None:
            adapter.attach(base.transformer)

    def request(self, **settings: Any) -> Request:
        """The settings of a generation, completed by the base model's defaults; none counts as left out.

        Raises:
            ValueError: an unknown or impossible setting; says which and the value received.
        """
        given = {name: value for name, value in settings.items() if value is not None}
        try:
            return Request.model_validate({**self.base.defaults.request(), **given})
        except ValidationError as error:
            raise ValueError(explain(error)) from error

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
        self, prompts: Sequence[str], references: Sequence[Picture | None], *, seeds: Sequence[int], **settings: Any
    ) -> list[Video]:
        """Make several videos at once; each is what `generate` makes with its seed. All have a reference, or none."""
        request = self.request(**settings)
        latents = None
        for step in self.sample(prompts, references, seeds=seeds, request=request):
            latents = step.latents
        assert latents is not None
        return self.decode(latents)

    def sample(
        self,
        prompts: Sequence[str],
        references: Sequence[Picture | None],
        *,
        seeds: Sequence[int],
        request: Request,
        advice: Advice | None = None,
    ) -> Iterator[SamplerStep]:
        """The sampler's steps, one by one; the caller owns progress, preview and cancellation.

        Args:
            prompts: one a video.
            references: a picture a video, or none for all.
            seeds: one a video.
            request: the settings.
            advice: put around the prediction of every step, to watch it or to change it: `explain.Looks`, for instance.

        Raises:
            ValueError: before the first step, if anything asked for is impossible.
        """
        if not len(prompts) == len(references) == len(seeds):
            raise ValueError(f"{len(prompts)} prompts, {len(references)} references, {len(seeds)} seeds: give as many")
        shape = request.latent_shape(self.base.transformer.size.channels, self.base.compression)
        self._check(request)
        condition, nothing = self._conditions(prompts, references, request)
        predict = guided(
            self._model(request.reference_scale),
            condition,
            unconditional=nothing,
            guidance=COURSES[request.guidance_course](request.guidance, request.steps),
        )
        cache = StepCache(request.step_cache) if request.step_cache else None
        predict = self._equipped(predict if advice is None else advice(predict), request, cache)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        draw = gaussian((len(prompts), *shape), generators, device=self.base.device)
        yield from run(request.sampler, predict, schedule=self.base.schedule, steps=request.steps, draw=draw)
        if cache is not None:
            logger.info("step cache: %d of %d runs of the transformer's blocks left out", cache.skipped, cache.asked)

    def encode_references(self, references: Sequence[Picture | None]) -> Tensor | None:
        """Tokens of the pictures, (B, M, E); none if there are none."""
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

    @torch.no_grad()
    def _conditions(
        self, prompts: Sequence[str], references: Sequence[Picture | None], request: Request
    ) -> tuple[Condition, Condition]:
        """What is asked for, and what guidance leads away from. References are projected already."""
        text, reference = self.base.encoders.text, self.encode_references(references)
        empty = text.dropped(len(prompts)) if request.negative_prompt is None else text([request.negative_prompt])
        if reference is None or request.reference_scale == 0:
            return Condition(text(prompts)), Condition(empty)
        assert self.adapter is not None
        reference = self.adapter.projection(reference)  # (B, M, D)
        zeros = torch.zeros_like(reference) if request.sampler == "sat" else None
        return Condition(text(prompts), reference), Condition(empty, zeros)

    def _model(self, reference_scale: float):
        transformer, dtype = self.base.transformer, self.base.dtype

        def model(latents: Tensor, timesteps: Tensor, text: Tensor, reference: Tensor | None, /) -> Tensor:
            return transformer(latents.to(dtype), timesteps, text, reference, reference_scale=reference_scale)

        return model

    def _equipped(self, predict: Predict, request: Request, cache: StepCache | None) -> Predict:
        """The same, with the model as the request wants it, while it is asked: between steps it is as it was."""

        def equipped(latents: Tensor, timestep: int, share: float) -> Tensor:
            with torch.inference_mode(), self._swapped(request, cache):
                return predict(latents, timestep, share)

        return equipped

    @contextmanager
    def _swapped(self, request: Request, cache: StepCache | None) -> Iterator[None]:
        transformer = self.base.transformer
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
            heads = torch.zeros(1, 1, 8, self.base.transformer.size.head_dim, device=self.base.device)
            KERNELS[request.kernel](*[heads.to(self.base.dtype)] * 3)
        if request.step_cache and self.base.transformer.trunk.around is not None:
            raise ValueError("step_cache: the trunk has advice around it already; take that away, or set step_cache=0")


def load(
    source: str | Path = "pocket",
    *,
    adapter: str | Path | None = "default",
    device: str | None = None,
    dtype: str | None = None,
) -> Pipeline:
    """Load a base model and an adapter.

    Args:
        source: `pocket`, the small model that ships, or a folder in diffusers layout.
        adapter: an adapter's folder; `default`: the one that comes with the base, if any; none: the bare model.
        device: `cpu`, `cuda`, ...; none: a GPU if there is one.
        dtype: `float32`, `bfloat16` or `float16`; none: float32 on a CPU, bfloat16 on a GPU.

    Raises:
        ValueError: there is no such model, or it cannot be read; says what and where.
    """
    base = load_base(source, device=device, dtype=dtype)
    folder = base.adapter if adapter == "default" else adapter
    if folder is None:
        return Pipeline(base)
    loaded = load_adapter(Path(folder), dtype=base.dtype, base_fingerprint=base.fingerprint())
    return Pipeline(base, loaded.to(base.device))
