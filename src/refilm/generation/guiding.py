"""The guidance that a request asks for, as functions of the steps of its run."""

from refilm.diffusion import (
    GUIDANCE_SCHEDULES,
    GuidanceForm,
    GuidanceScale,
    Process,
    limited,
    plain,
    projected,
    rescaled,
)
from refilm.generation.request import Request


def scale_of(request: Request, scale: float) -> GuidanceScale:
    """A scale over the steps: by the request's schedule, at its steps with guidance."""
    guidance = GUIDANCE_SCHEDULES[request.guidance_schedule](scale, request.steps)
    if request.guidance_steps is None:
        return guidance
    return limited(guidance, request.guidance_steps.indices(request.steps), steps=request.steps)


def form_of(request: Request, process: Process) -> GuidanceForm:
    """The form for one run on the levels of a process."""
    if request.guidance_form == "rescaled":
        return rescaled(request.guidance_rescale)
    if request.guidance_form == "projected":
        return projected(
            process,
            request.steps,
            parallel=request.guidance_parallel,
            norm=request.guidance_norm,
            momentum=request.guidance_momentum,
        )
    return plain


def unused_negatives(request: Request, reference: bool) -> list[str]:
    """The negative conditions that nothing moves away from, because guidance is 1 at every step.

    Args:
        request: the settings.
        reference: whether there is a negative reference.
    """
    scales = {request.guidance, request.guidance if request.reference_guidance is None else request.reference_guidance}
    if request.guidance_schedule != "constant" or scales != {1.0}:
        return []
    given = {"negative_prompt": request.negative_prompt is not None, "negative_reference": reference}
    return [name for name, is_given in given.items() if is_given]
