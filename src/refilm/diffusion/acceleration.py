"""Fewer runs of the trunk in a sampling run: steps whose input has hardly moved reuse what the trunk added before.

Letters: B samples, S text tokens, N video tokens, L = S + N; M reference tokens; D channels of a token.
Knows a trunk as a function of tokens and their `Conditioning`; of samplers and guidance it knows nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from refilm.arguments import checked
from refilm.model import Conditioning

BRANCHES = 4  # more than guidance ever has: what a branch keeps is as large as the tokens


class StepCache:
    """WrapPrediction around a trunk: while its input has hardly moved since it last ran, add what it added then.

    In the manner of TeaCache (Liu et al. 2024, arXiv:2411.19108): the video tokens' relative L1 changes from step to
    step are summed up, and when the sum reaches the threshold the trunk runs and the sum starts anew. The tokens are
    compared as they come, neither modulated by the timestep nor through TeaCache's polynomial, which is fitted to each
    model: a threshold is found by trying.

    Every sample goes by its own sum, so that a video does not depend on those beside it. Branches of guidance share
    nothing: one is known by its text and reference tokens, which stay the same through a run. One cache serves one
    run; `reset` makes it new.

    Args:
        threshold: 0 never skips. It is a sum of relative changes: at 0.2 the trunk rests until the tokens have moved
            by a fifth of their size.

    Raises:
        ValueError: a threshold below 0, or no number.
    """

    @checked
    def __init__(self, threshold: float):
        if not threshold >= 0:
            raise ValueError(f"step_cache: the threshold must be 0 or more (received {threshold})")
        self.threshold = threshold
        self.reset()

    def reset(self) -> None:
        """Forget everything, the counts too."""
        self.asked, self.skipped = 0, 0
        self._branches: list[_Branch] = []

    def __call__(self, run: Callable[[Tensor, Conditioning], Tensor], x: Tensor, conditioning: Conditioning) -> Tensor:
        """What `trunk.around` wants: (B, L, D) -> (B, L, D)."""
        self.asked += len(x)
        text, video = x[:, : conditioning.text_length], x[:, conditioning.text_length :]
        branch = self._known(text, conditioning.reference)
        if branch is None:
            out = run(x, conditioning)
            fresh = _Branch(text.clone(), conditioning.reference, video, video.new_zeros(len(x)).float(), out - x)
            self._branches = [*self._branches[1 - BRANCHES :], fresh]
            return out
        runs = branch.outgrown(video, self.threshold)
        count = int(runs.sum())
        self.skipped += len(x) - count
        if count == len(x):
            out = run(x, conditioning)
            branch.added = out - x
            return out
        out = x + branch.added
        if count:
            out[runs] = run(x[runs], conditioning.rows(runs))
            branch.added[runs] = out[runs] - x[runs]
        return out

    def _known(self, text: Tensor, reference: Tensor | None) -> "_Branch | None":
        return next((branch for branch in self._branches if branch.told(text, reference)), None)


@dataclass(eq=False)
class _Branch:
    text: Tensor
    """(B, S, D), the same at every step."""
    reference: Tensor | None
    """(B, M, D), the same at every step."""
    video: Tensor
    """(B, N, D) at the last step."""
    moved: Tensor
    """How far each sample's video has moved since its last run: (B,) float32."""
    added: Tensor
    """What the trunk added at the last run: (B, L, D)."""

    def told(self, text: Tensor, reference: Tensor | None) -> bool:
        if reference is None or self.reference is None:
            return reference is self.reference and torch.equal(text, self.text)
        return torch.equal(text, self.text) and torch.equal(reference, self.reference)

    def outgrown(self, video: Tensor, threshold: float) -> Tensor:
        """Which samples have moved too far, (B,) bool; those start to count anew."""
        change = (video - self.video).abs().mean(dim=(1, 2), dtype=torch.float32)
        self.moved = self.moved + change / self.video.abs().mean(dim=(1, 2), dtype=torch.float32)
        self.video = video
        runs = ~(self.moved < threshold)  # not a number: it runs
        self.moved = self.moved.masked_fill(runs, 0)
        return runs
