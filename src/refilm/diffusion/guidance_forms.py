"""Forms of guidance: what a sampling run makes of a guided prediction whose contrast grows with the scale.

A form receives the plain guided prediction and the conditional one. With text and reference guidance apart, both scales
are already in the guided prediction, so that a form limits them together; at equal scales it equals joint guidance.
Letters: B videos, T latent frames, C latent channels, H x W latent pixels.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from refilm.arguments import checked
from refilm.diffusion.memory import State
from refilm.diffusion.process import Process

GuidanceForm = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""(guided velocity, conditional velocity, noisy latents, fraction of the steps done) -> velocity after guidance."""

SAMPLE = (1, 2, 3, 4)  # the axes of one video


def plain(guided: Tensor, conditional: Tensor, latents: Tensor, fraction: float) -> Tensor:
    """The guided prediction as it is."""
    return guided


@checked
def rescaled(factor: float) -> GuidanceForm:
    """Give the guided prediction the standard deviation of the conditional one (Lin et al. 2023, arXiv:2305.08891,
    eq. 15 and 16), separately for each video. It works on the velocities, as in the paper.

    Args:
        factor: weight of the rescaled prediction in its mean with the guided one, 0 to 1; 0 is `plain`.
    """
    if not factor:
        return plain

    def form(guided: Tensor, conditional: Tensor, latents: Tensor, fraction: float) -> Tensor:
        ratio = conditional.std(dim=SAMPLE, keepdim=True) / guided.std(dim=SAMPLE, keepdim=True)
        return guided * (factor * ratio + (1 - factor))

    return form


class Projected:
    """Adaptive projected guidance (APG; Sadat et al. 2024, arXiv:2410.02416, algorithm 1), separately for each video.

    The update is what guidance adds to the conditional prediction. Momentum, limit and projection work on the clean
    estimates that the velocities imply, as in the paper: the part of the update parallel to the conditional clean
    estimate raises the contrast of the video itself. Velocities also contain the noise, near the end of a run of
    v-prediction almost nothing else.

    The momentum belongs to one run: it starts anew at the first step. Steps without guidance leave it unchanged.

    Args:
        process: the noise schedule of the run.
        steps: number of steps of the run.
        parallel: factor on the part of the update parallel to the conditional estimate, the paper's eta; 1 keeps it.
        norm: largest root mean square of the update, over the values of a video's latents. The paper limits the
            difference of two predictions before its factor, the scale minus 1, and by its norm r: for one scale s,
            r is norm * sqrt(T C H W) / (s - 1). None: no limit.
        momentum: factor on the update of the step before, its own momentum included, the paper's beta; 0 is no
            momentum.

    Raises:
        UserError: `process` does not have so many steps.
    """

    def __init__(self, process: Process, steps: int, *, parallel: float, norm: float | None, momentum: float):
        self.process, self.levels = process, process.spaced(steps)
        self.parallel, self.norm, self.momentum = parallel, norm, momentum
        self._earlier: Tensor | None = None

    def __call__(self, guided: Tensor, conditional: Tensor, latents: Tensor, fraction: float) -> Tensor:
        level = self.levels[round(fraction * len(self.levels))]
        clean = self.process.clean(latents, conditional, level)
        update = self.process.clean(latents, guided, level) - clean
        if self.momentum:
            if self._earlier is not None and fraction:
                update = update + self.momentum * self._earlier
            self._earlier = update
        if self.norm is not None:
            update = update * (self.norm / update.square().mean(dim=SAMPLE, keepdim=True).sqrt()).clamp(max=1)
        update = update - (1 - self.parallel) * projection(update, clean)
        return conditional - update / level.sigma  # a clean estimate falls by sigma times the velocity

    def state(self) -> State:
        """The update that the next step's momentum adds."""
        return {} if self._earlier is None else {"update": self._earlier}

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self._earlier = state.get("update")


@checked
def projected(
    process: Process, steps: int, *, parallel: float = 0.0, norm: float | None = None, momentum: float = 0.0
) -> GuidanceForm:
    """`Projected`, or `plain` where these values change nothing."""
    if parallel == 1 and norm is None and not momentum:
        return plain
    return Projected(process, steps, parallel=parallel, norm=norm, momentum=momentum)


def projection(update: Tensor, onto: Tensor) -> Tensor:
    """The part of each video's update that is parallel to another tensor: (B, T, C, H, W)."""
    length = onto.square().sum(dim=SAMPLE, keepdim=True).clamp_min(torch.finfo(onto.dtype).tiny)
    return (update * onto).sum(dim=SAMPLE, keepdim=True) / length * onto
