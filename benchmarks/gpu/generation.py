"""Generating one video with CogVideoX-2B's sizes: refilm's modes and diffusers' pipeline, with the same random weights.

All start from the same noise, with the same text, guidance 6 and DDIM, and run a few sampler steps, not a whole video:
`seconds_per_step` is the median without the first one, and `video_seconds_extrapolated` is 50 of it. Nothing is
decoded. `psnr` compares the final latents with those of the first mode, those with a reference with the first of them.
It shows whether modes compute the same, not what a viewer would see. `warm_up_seconds` contains compilation.
"""

import statistics
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpu.comparing import likeness
from gpu.models import REFERENCE_TOKENS, Sizes, compiled_blocks, random_adapter, random_transformer, sizes_for
from gpu.part import Run
from gpu.timing import Clock, Execution, Facts
from refilm import Pipeline
from refilm.backbones.cogvideox import family
from refilm.backbones.cogvideox.transformer import Transformer
from refilm.checkpoints import Base, save_transformer
from refilm.diffusion import Process, gaussian, scaled_linear
from refilm.geometry import Compression
from refilm.model import RunBlock, Trunk, swapped

SEED, GUIDANCE, STEPS, VIDEO_STEPS = 7, 6.0, 4, 50
PROCESS = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "v_prediction"}
SNR_SHIFT = 3.0


@dataclass(frozen=True)
class Mode:
    """How refilm runs the transformer."""

    kernel: str = "fused"
    compiled: bool = False
    reference: bool = False
    """Whether a reference image conditions the video, which diffusers' pipeline cannot do."""


EAGER, COMPILED = "refilm", "refilm, blocks compiled"
MODES = {EAGER: Mode(), COMPILED: Mode(compiled=True)}
DIFFUSERS = {"diffusers": False, "diffusers, blocks compiled": True}
MORE_MODES = {
    **{f"refilm, {kernel}": Mode(kernel) for kernel in ("cudnn", "flash", "efficient")},
    "refilm, cudnn, blocks compiled": Mode("cudnn", compiled=True),
    "refilm with a reference": Mode(reference=True),
    "refilm with a reference, blocks compiled": Mode(reference=True, compiled=True),
}


def measure(run: Run) -> None:
    """The modes that have a counterpart in diffusers, in turn with it, and then the others."""
    sizes = sizes_for(tiny=run.tiny)
    given = Inputs.random(sizes, run.device, run.dtype)
    bare, referring = First(), First()
    pipeline = random_pipeline(sizes, run.device, run.dtype)
    pipelines = run.obtain(DIFFUSERS, lambda: of_diffusers(pipeline.base.transformer, run.compiler)) or {}
    block = compiled_blocks(run.compiler)

    def by_refilm(modes: dict[str, Mode]) -> dict[str, Execution]:
        return {
            name: partial(refilm_run, pipeline, mode, given, referring if mode.reference else bare, block)
            for name, mode in modes.items()
        }

    by_diffusers = {name: partial(diffusers_run, theirs, given, bare) for name, theirs in pipelines.items()}
    run.compare(by_refilm(MODES) | by_diffusers, turns=2)
    for name, execution in by_refilm(MORE_MODES).items():  # one after the other, in case that time runs out
        run.compare({name: execution}, turns=2)


@dataclass(frozen=True)
class Inputs:
    """What the videos are generated from."""

    sizes: Sizes
    text: Tensor
    """Embedding of the prompt, (1, S, text_dim)."""
    tokens: Tensor
    """Of the reference image, (1, M, E)."""

    @classmethod
    def random(cls, sizes: Sizes, device: torch.device, dtype: torch.dtype) -> "Inputs":
        """Random embeddings."""
        rng, size = torch.Generator().manual_seed(0), sizes.transformer
        text = torch.randn(1, size.text_length, size.text_dim, generator=rng)
        tokens = torch.randn(1, REFERENCE_TOKENS, 1024, generator=rng)
        return cls(sizes, text.to(device, dtype), tokens.to(device, dtype))

    @property
    def video(self) -> dict[str, int]:
        """Height and width in pixels."""
        return {"height": self.sizes.height, "width": self.sizes.width}


class First:
    """The latents of the first mode, which those of the others are compared with."""

    def __init__(self) -> None:
        self._latents: Tensor | None = None

    def facts(self, latents: Tensor, clock: Clock) -> Facts:
        """Of the run of a mode: its latents against the first one's, and the seconds of its steps."""
        latents = latents.float().cpu()
        if self._latents is None:
            self._latents = latents
        step = statistics.median(clock.laps()[1:])
        difference = likeness(latents, self._latents, peak=float(self._latents.max() - self._latents.min()))
        return {"seconds_per_step": step, "video_seconds_extrapolated": VIDEO_STEPS * step, **difference}


def refilm_run(pipeline: Pipeline, mode: Mode, given: Inputs, first: First, block: RunBlock, clock: Clock) -> Facts:
    """Sample with refilm's pipeline."""
    blocks = swapped(pipeline.base.transformer, Trunk, run_block=lambda _: block) if mode.compiled else nullcontext()
    with blocks:
        latents = refilm_latents(pipeline, mode, given, steps=STEPS, tick=clock.tick)
    return first.facts(latents, clock)


def diffusers_run(pipeline: Any, given: Inputs, first: First, clock: Clock) -> Facts:
    """Sample with diffusers' pipeline."""
    return first.facts(diffusers_latents(pipeline, given, steps=STEPS, tick=clock.tick), clock)


def refilm_latents(pipeline: Pipeline, mode: Mode, given: Inputs, *, steps: int, tick: Callable[[], None]) -> Tensor:
    """The latents of a video by refilm's pipeline, with a tick before and after each step."""
    request = pipeline.request(
        **given.video, frames=given.sizes.frames, steps=steps, guidance=GUIDANCE, sampler="ddim", kernel=mode.kernel
    )
    references = given.tokens if mode.reference else [None]
    tick()
    sampling = pipeline.sample(given.text, references, seeds=[SEED], request=request)
    for _ in sampling:
        tick()
    return sampling.latents


def diffusers_latents(pipeline: Any, given: Inputs, *, steps: int, tick: Callable[[], None]) -> Tensor:
    """The same by diffusers' pipeline, from the same noise."""

    def after_step(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        tick()
        return tensors

    start = gaussian((1, *given.sizes.latents), [torch.Generator().manual_seed(SEED)], device=given.text.device)()
    tick()
    made = pipeline(
        **given.video,
        num_frames=given.sizes.frames,
        num_inference_steps=steps,
        guidance_scale=GUIDANCE,
        prompt_embeds=given.text,
        negative_prompt_embeds=torch.zeros_like(given.text),
        latents=start.to(given.text.dtype),
        output_type="latent",
        callback_on_step_end=after_step,
    )
    return made.frames


class RandomSource:
    """A `refilm.backbones.Source` without files, whose transformer has random weights; it has no encoders.

    Args:
        sizes: its sizes.
        folder: an empty folder.
    """

    family = family

    def __init__(self, sizes: Sizes, folder: Path):
        self._sizes, self.folder, self.size = sizes, folder, sizes.transformer

    def compression(self) -> Compression:
        """Compression factors."""
        return self._sizes.compression

    def schedule(self) -> Process:
        """The noise schedule of CogVideoX-2B."""
        return scaled_linear(snr_shift=SNR_SHIFT)

    def transformer(self, dtype: torch.dtype, device: torch.device) -> Transformer:
        """The transformer."""
        return random_transformer(self.size, device=device, dtype=dtype)


def random_pipeline(sizes: Sizes, device: torch.device, dtype: torch.dtype) -> Pipeline:
    """refilm's pipeline with an adapter, which only videos with a reference use."""
    with tempfile.TemporaryDirectory() as folder:
        source: Any = RandomSource(sizes, Path(folder))
        base = Base(source, name="random weights", device=device, dtype=dtype, memory="low")
    return Pipeline(base, random_adapter(sizes.transformer, device=device, dtype=dtype))


def of_diffusers(transformer: Transformer, compiler: str) -> dict[str, Any]:
    """diffusers' pipelines with the same weights: as it is, and with compiled blocks."""
    from diffusers import CogVideoXTransformer3DModel

    pipelines = {}
    with tempfile.TemporaryDirectory() as folder:
        save_transformer(transformer, Path(folder))
        for name, compiled in DIFFUSERS.items():
            model = CogVideoXTransformer3DModel.from_pretrained(folder, torch_dtype=transformer.dtype)
            for block in model.transformer_blocks if compiled else ():
                block.compile(fullgraph=True, dynamic=False, backend=compiler)
            pipelines[name] = diffusers_pipeline(model.to(transformer.device))
    return pipelines


def diffusers_pipeline(transformer: Any) -> Any:
    """diffusers' pipeline of a transformer, with DDIM, and without encoders."""
    from diffusers import CogVideoXDDIMScheduler, CogVideoXPipeline

    parts = {"tokenizer": None, "text_encoder": None, "vae": None}
    scheduler = CogVideoXDDIMScheduler(**PROCESS, snr_shift_scale=SNR_SHIFT)
    pipeline = CogVideoXPipeline(**parts, transformer=transformer, scheduler=scheduler)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
