"""A sampling run of a batch of videos: an iterator over its steps, which can be saved and continued after any step."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from refilm.checkpoints import Base, load_magnitudes
from refilm.control.routing import WordRouting
from refilm.diffusion import MagnitudeCache, Model, Predict, SamplerStep, StepCache, gaussian, guided, run, windowed
from refilm.diffusion.memory import Memory
from refilm.errors import UserError
from refilm.generation.conditions import Conditions
from refilm.generation.guiding import form_of, scale_of
from refilm.generation.long import windows_of
from refilm.generation.recipe import VideoRecipe
from refilm.generation.request import Request
from refilm.generation.times import Times
from refilm.model import KERNELS, Attention, Backbone, Trunk, swapped

logger = logging.getLogger("refilm")

WrapPrediction = Callable[[Predict, Backbone], Predict]
"""A wrapper of every step's prediction. It can record the prediction, or change the transformer during it."""


@dataclass(frozen=True, eq=False)
class SamplerState:
    """A run after a step: with the same conditions and settings it goes on to exactly the same videos."""

    step: SamplerStep
    """The last step."""
    generators: tuple[Tensor, ...]
    """The state of each video's random generator, uint8."""
    memories: dict[str, Tensor]
    """What guidance, step cache and word routing remember."""
    passes: int
    """Transformer passes so far."""

    def on(self, device: torch.device) -> "SamplerState":
        """The state with its tensors on a device; generators stay on the CPU, where noise is drawn."""
        latents, clean, *earlier = (one.to(device) for one in (self.step.latents, self.step.clean, *self.step.earlier))
        step = replace(self.step, latents=latents, clean=clean, earlier=tuple(earlier))
        return replace(self, step=step, memories={name: one.to(device) for name, one in self.memories.items()})


class Sampling(Iterator[SamplerStep]):
    """A sampling run, an iterator over its steps; the caller owns progress, previews and cancellation.

    Args:
        base: the base model.
        conditions: the conditions of the videos.
        request: the settings.
        seeds: one per video.
        recipes: one per video; none for videos from embeddings.
        wrap_prediction: a wrapper of every step's prediction that records or changes it.
        state: a state of the same run to go on from.
    """

    def __init__(
        self,
        base: Base,
        conditions: Conditions,
        request: Request,
        *,
        seeds: Sequence[int],
        recipes: Sequence[VideoRecipe] = (),
        wrap_prediction: WrapPrediction | None = None,
        state: SamplerState | None = None,
    ):
        self.base, self.request = base, request
        self.seeds, self.recipes = tuple(seeds), tuple(recipes)
        self._started = time.perf_counter()
        self.passes = 0
        """Transformer passes so far, of every video; a window of a long video is a pass."""
        self.cache = step_cache(base, request)
        self._last: SamplerStep | None = None
        self._between_steps = True
        self._form = form_of(request, base.schedule)
        self._routing: WordRouting | None = None
        transformer = base.transformer
        predict = self._predict(transformer, conditions)
        if wrap_prediction is not None:
            predict = wrap_prediction(predict, transformer)
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        if state is not None:
            self._restore(state.on(base.device))
        shape = request.latent_shape(base.size.channels, base.compression)
        self._steps = run(
            request.sampler,
            self._configured(predict, transformer),
            schedule=base.schedule,
            steps=request.steps,
            draw=gaussian((len(seeds), *shape), self._generators, device=base.device),
            after=self._last,
        )

    def __next__(self) -> SamplerStep:
        self._between_steps = False
        try:
            self._last = next(self._steps)
        except StopIteration:
            self._between_steps = True
            self._report()
            raise
        self._between_steps = True
        return self._last

    def _report(self) -> None:
        if self.cache is not None:
            skipped, calls = self.cache.skipped, self.cache.calls
            logger.info("step cache: %d of %d runs of the transformer's blocks skipped", skipped, calls)

    @property
    def done(self) -> int:
        """Number of steps that are done."""
        return 0 if self._last is None else self._last.index + 1

    @property
    def resumable(self) -> bool:
        """Whether there is a state to go on from: a step is done, and none was interrupted in the middle."""
        return self._last is not None and self._between_steps

    @property
    def latents(self) -> Tensor:
        """The latents after the last step, (B, T, C, h, w).

        Raises:
            UserError: no step is done yet.
        """
        return self._after_a_step().latents

    def finished_recipes(self) -> list[VideoRecipe]:
        """The recipes with the passes and the seconds of this run."""
        known: dict[str, Any] = {"passes": self.passes, "seconds": round(time.perf_counter() - self._started, 3)}
        if self.cache is not None:
            known["skipped"] = self.cache.skipped / len(self.seeds)
        return [one.model_copy(update={"made": one.made.model_copy(update=known)}) for one in self.recipes]

    def state(self) -> SamplerState:
        """The state after the last step.

        Raises:
            UserError: no step is done yet, or one was interrupted in the middle.
        """
        last = self._after_a_step()
        if not self._between_steps:
            raise UserError("a step was interrupted in the middle; go on from an earlier state, or sample again")
        memories = {
            f"{part}:{name}": tensor
            for part, memory in self._memories().items()
            for name, tensor in memory.state().items()
        }
        generators = tuple(generator.get_state() for generator in self._generators)
        return SamplerState(last, generators, memories, self.passes)

    def _after_a_step(self) -> SamplerStep:
        if self._last is None:
            raise UserError("the run has not done a step yet")
        return self._last

    def _restore(self, state: SamplerState) -> None:
        if state.step.steps != self.request.steps or len(state.generators) != len(self.seeds):
            raise UserError(
                f"the state is of {len(state.generators)} videos in {state.step.steps} steps, these settings are for "
                f"{len(self.seeds)} in {self.request.steps}; use those that it was saved with"
            )
        shape = len(self.seeds), *self.request.latent_shape(self.base.size.channels, self.base.compression)
        if state.step.latents.shape != shape:
            raise UserError(f"the state has latents of {tuple(state.step.latents.shape)}, these settings need {shape}")
        self._last, self.passes = state.step, state.passes
        try:
            for generator, saved in zip(self._generators, state.generators, strict=True):
                generator.set_state(saved)
            for part, memory in self._memories().items():
                memory.restore(_named(state.memories, f"{part}:"))
        except (RuntimeError, TypeError, ValueError, LookupError) as error:
            raise UserError(f"the state does not fit these settings ({error}); generate the video again") from error

    def _memories(self) -> dict[str, Memory]:
        parts = {"guidance": self._form, "step cache": self.cache, "words": self._routing}
        return {name: part for name, part in parts.items() if isinstance(part, Memory)}

    def _predict(self, transformer: Backbone, conditions: Conditions) -> Predict:
        """The prediction with the guidance of the request, and routing of words."""
        model, request = self._model(transformer), self.request
        of_reference = request.reference_guidance
        if of_reference is not None and conditions.conditional.references is None:
            raise UserError("reference_guidance: give a reference, and a reference_scale above 0; or remove it")
        predict = guided(
            model,
            conditions.conditional,
            unconditional=conditions.unconditional,
            guidance=scale_of(request, request.guidance),
            reference_guidance=None if of_reference is None else scale_of(request, of_reference),
            form=self._form,
            time_of=Times(transformer, [level.timestep for level in self.base.schedule.spaced(request.steps)]),
        )
        if conditions.words is None:
            return predict
        self._routing = WordRouting(conditions.words, model, conditions.conditional.text)
        return self._routing(predict, transformer)

    def _model(self, transformer: Backbone) -> Model:
        dtype = self.base.dtype

        def model(latents: Tensor, *conditions: Any, **named: Any) -> Tensor:
            self.passes += len(latents) // len(self.seeds)
            return transformer(latents.to(dtype), *conditions, **named)

        base = self.base
        return windowed(model, windows_of(self.request, base.defaults.frames, base.size, base.compression))

    def _configured(self, predict: Predict, transformer: Backbone) -> Predict:
        """The same prediction with the model configured by the request; the model is restored between steps."""
        if self.cache is not None and transformer.trunk.wrap_blocks is not None:
            raise UserError("step_cache: trunk.wrap_blocks is already set; set it to None, or set step_cache=0")

        def configured(latents: Tensor, timestep: float, fraction: float) -> Tensor:
            if isinstance(self.cache, MagnitudeCache):
                self.cache.begin(timestep, fraction)
            with torch.inference_mode(), self._swapped(transformer):
                return predict(latents, timestep, fraction)

        return configured

    @contextmanager
    def _swapped(self, transformer: Backbone) -> Iterator[None]:
        with ExitStack() as stack:
            if self.request.kernel is not None:
                kernel = KERNELS[self.request.kernel]
                stack.enter_context(swapped(transformer, Attention, kernel=lambda _: kernel))
            if self.cache is not None:
                stack.enter_context(swapped(transformer, Trunk, wrap_blocks=lambda _: self.cache))
            yield


def step_cache(base: Base, request: Request) -> StepCache | MagnitudeCache | None:
    """The step cache of one run. None: the request has none.

    Raises:
        UserError: the base model has no magnitudes for a cache that needs them.
    """
    if not request.step_cache:
        return None
    if request.step_cache_rule == "change":
        return StepCache(request.step_cache)
    return MagnitudeCache(request.step_cache, load_magnitudes(base))


def _named(tensors: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `start`, which is removed."""
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
