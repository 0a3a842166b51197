"""Step cache: sampler steps whose input has hardly changed reuse the trunk's previous output.

Letters: B samples, S text tokens, N video tokens, L = S + N; M reference tokens; D channels per token.
The trunk is a function of tokens and their `Conditioning`; the cache is independent of samplers and guidance.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from refilm.arguments import checked
from refilm.diffusion.memory import State
from refilm.errors import UserError
from refilm.model import Conditioning, Row


class StepCache:
    """A trunk wrapper that skips the blocks while their input has hardly changed and reuses the last residual.

    Similar to TeaCache (Liu et al. 2024, arXiv:2411.19108): the relative L1 changes of the video tokens are summed
    over the steps; when the sum reaches the threshold, the trunk runs and the sum is reset. Unlike in TeaCache, the
    tokens are compared without timestep modulation and without a polynomial fitted to the model, so the best
    threshold has to be found by experiment.

    Every sample has its own sum, so that a video does not depend on the rest of the batch. Batches are told apart by
    what their rows are, the branches of guidance and the samples; each takes as much memory as its tokens. Use one
    cache per run, or call `reset` between runs.

    Args:
        threshold: sum of relative changes below which the trunk is skipped. 0 disables the cache; at 0.2 the trunk is
            skipped until the tokens have changed by a fifth of their size.

    Raises:
        UserError: the threshold is below 0 or not a number.
    """

    @checked
    def __init__(self, threshold: float):
        if not threshold >= 0:
            raise UserError(f"step_cache: the threshold must be 0 or more (received {threshold})")
        self.threshold = threshold
        self.reset()

    def reset(self) -> None:
        """Clear the cache and its counters."""
        self.calls, self.skipped = 0, 0
        self._batches: dict[tuple[Row, ...], _Batch] = {}

    def __call__(self, run: Callable[[Tensor, Conditioning], Tensor], x: Tensor, conditioning: Conditioning) -> Tensor:
        """For use as `trunk.wrap_blocks`: (B, L, D) -> (B, L, D)."""
        self.calls += len(x)
        video, batch = x[:, conditioning.text_length :], self._batches.get(conditioning.rows)
        if batch is None:
            out = run(x, conditioning)
            self._batches[conditioning.rows] = _Batch(video, video.new_zeros(len(x)).float(), out - x)
            return out
        runs = batch.must_run(video, self.threshold)
        count = int(runs.sum())
        self.skipped += len(x) - count
        if count == len(x):
            out = run(x, conditioning)
            batch.added = out - x
            return out
        out = x + batch.added
        if count:
            out[runs] = run(x[runs], conditioning.select(runs))
            batch.added[runs] = out[runs] - x[runs]
        return out

    def state(self) -> State:
        """The counters, and three tensors for each batch of rows."""
        tensors = {"counters": torch.tensor([self.calls, self.skipped])}
        for rows, batch in self._batches.items():
            key = ",".join(map(str, rows))
            tensors |= {f"{key}/{name}": value for name, value in vars(batch).items()}
        return tensors

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self.reset()
        self.calls, self.skipped = map(int, state["counters"])
        for key in {name.partition("/")[0] for name in state.keys() - {"counters"}}:
            rows = tuple(map(Row.read, key.split(",")))
            self._batches[rows] = _Batch(*(state[f"{key}/{field.name}"] for field in fields(_Batch)))


@dataclass(eq=False)
class _Batch:
    """The state of rows that run together."""

    video: Tensor
    """(B, N, D) at the last step."""
    moved: Tensor
    """Accumulated change of each sample's video since its last run: (B,) float32."""
    added: Tensor
    """Residual of the trunk at the last run: (B, L, D)."""

    def must_run(self, video: Tensor, threshold: float) -> Tensor:
        """Which samples have changed too much, (B,) bool; their sums are reset."""
        change = (video - self.video).abs().mean(dim=(1, 2), dtype=torch.float32)
        self.moved = self.moved + change / self.video.abs().mean(dim=(1, 2), dtype=torch.float32)
        self.video = video
        runs = ~(self.moved < threshold)  # NaN counts as changed
        self.moved = self.moved.masked_fill(runs, 0)
        return runs
