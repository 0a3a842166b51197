"""Calibration of the step cache by magnitudes: one run without a cache measures them."""

from collections.abc import Sequence

from torch import Tensor

from refilm.arguments import checked
from refilm.diffusion import MagnitudeRecorder, Magnitudes, Predict
from refilm.generation.conditions import Reference
from refilm.generation.pipeline import Pipeline
from refilm.generation.request import Request, Text
from refilm.model import Backbone, Trunk, swapped


@checked
def calibrate(
    pipeline: Pipeline,
    prompts: Sequence[Text],
    references: Sequence[Reference | None],
    *,
    seeds: Sequence[int],
    request: Request,
) -> Magnitudes:
    """Measure the magnitudes of a base model on some videos, which are not decoded. One video is enough
    (arXiv:2506.09045, section 4.2); `refilm.checkpoints.save_magnitudes` stores them with the base model.

    Args:
        pipeline: the base model and its adapter.
        prompts: one per video.
        references: one per video.
        seeds: one per video.
        request: the settings: guidance, so that its branches are measured, many steps, and no step cache.

    Raises:
        UserError: an input is invalid, or the run has fewer than two steps.
    """
    recorder = MagnitudeRecorder()

    def recording(predict: Predict, transformer: Backbone) -> Predict:
        def recorded(latents: Tensor, timestep: float, fraction: float) -> Tensor:
            recorder.begin(timestep)
            with swapped(transformer, Trunk, wrap_blocks=lambda _: recorder):
                return predict(latents, timestep, fraction)

        return recorded

    for _ in pipeline.sample(prompts, references, seeds=seeds, request=request, wrap_prediction=recording):
        pass
    return recorder.magnitudes()
