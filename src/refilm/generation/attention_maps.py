"""Attention maps from video tokens to reference tokens, recorded during sampling without changing the video.

Letters: B videos, S subjects, N video tokens, M reference tokens, H heads, D channels per head.
This module records weights only; `explain` draws heat maps from them.
"""

import itertools
from collections import Counter
from collections.abc import Container, Mapping

import torch
from einops import rearrange
from torch import Tensor

from refilm.diffusion import Predict
from refilm.errors import UserError
from refilm.geometry import Grid
from refilm.model import (
    Backbone,
    Block,
    Conditioning,
    Kernel,
    ReferenceAttention,
    References,
    Row,
    RunBlock,
    Trunk,
    swapped,
)


class AttentionMaps:
    """A `wrap_prediction` for `Pipeline.sample` that records every block's reference attention, averaged over heads.

    The weights are computed in addition to the kernel in use, so the video stays bit-identical. Use one instance per
    run.

    Args:
        steps: sampler steps to record, counted from 0. Default: all.
    """

    def __init__(self, *, steps: Container[int] | None = None):
        self.steps = steps
        self._sums: dict[tuple[int, Row], Tensor] = {}
        self._strengths: dict[tuple[int, Row], Tensor] = {}
        self._counts: Counter[tuple[int, Row]] = Counter()
        self._conditional: dict[int, Row] = {}  # index in the batch that runs -> a row of the conditional branch
        self._grid = Grid(0, 0, 0)
        self._references: References | None = None  # of the block that runs

    def __call__(self, predict: Predict, transformer: Backbone) -> Predict:
        """Return the same prediction with recording."""
        indices = itertools.count()

        def recorded(latents: Tensor, timestep: float, fraction: float) -> Tensor:
            index, blocks = next(indices), itertools.count()
            if self.steps is not None and index not in self.steps:
                return predict(latents, timestep, fraction)
            with (
                swapped(transformer, Trunk, run_block=self._noting),
                swapped(transformer, ReferenceAttention, kernel=lambda kernel: self._recording(kernel, next(blocks))),
            ):
                return predict(latents, timestep, fraction)

        return recorded

    def blocks(self) -> Tensor:
        """Attention weights per block and subject, averaged over steps: (blocks, B, S, N, M) float32.

        Rows sum to 1; with joint binding, all rows of a video token together.

        Raises:
            UserError: no reference attention was recorded.
        """
        return self._means(self._sums)

    def strengths(self) -> Tensor:
        """How strongly each video token reads each subject, averaged over steps: (blocks, B, S, N) float32.

        That is a subject's scale times its mask, and with joint binding also its part of the attention.

        Raises:
            UserError: no reference attention was recorded.
        """
        return self._means(self._strengths)

    def _means(self, sums: Mapping[tuple[int, Row], Tensor]) -> Tensor:
        if not sums:
            raise UserError(
                "no reference attention was recorded: use a reference, a reference_scale and a guidance above 0, and "
                "existing steps that the step cache does not skip"
            )
        blocks, samples = sorted({block for block, _ in sums}), sorted({row.sample for _, row in sums})
        tokens = self._grid.height * self._grid.width
        return torch.stack(
            [torch.stack([_stitched(self._windows(sums, block, one), tokens) for one in samples]) for block in blocks]
        )

    def _windows(self, sums: Mapping[tuple[int, Row], Tensor], block: int, sample: int) -> dict[int, Tensor]:
        """The mean over steps of each window of a sample, by the window's first frame."""
        return {
            row.window: total / self._counts[number, row]
            for (number, row), total in sums.items()
            if number == block and row.sample == sample
        }

    def _noting(self, run_block: RunBlock) -> RunBlock:
        """The same with a note of which rows are the conditional branch."""

        def noting(block: Block, x: Tensor, conditioning: Conditioning) -> Tensor:
            rows = enumerate(conditioning.rows)
            self._references = conditioning.references
            self._conditional = {index: row for index, row in rows if row.branch == "conditional"}
            self._grid = conditioning.grid
            return run_block(block, x, conditioning)

        return noting

    def _recording(self, kernel: Kernel, block: int) -> Kernel:
        def recording(q: Tensor, k: Tensor, v: Tensor, *bias: Tensor) -> Tensor:
            references = self._references
            assert references is not None
            for index, row in self._conditional.items():
                weights = _of_subjects(references, index, q, k, *bias).cpu()  # (S, N, M)
                strength = _strength(references, index, weights)
                self._sums[block, row] = self._sums.get((block, row), 0) + weights
                self._strengths[block, row] = self._strengths.get((block, row), 0) + strength
                self._counts[block, row] += 1
            return kernel(q, k, v, *bias)

        return recording


def _stitched(windows: Mapping[int, Tensor], tokens: int) -> Tensor:
    """Maps of a whole video, (S, N, ...), from those of its windows by their first frame; the mean where they overlap.

    A window that overlaps with the one before has seen another frame in place of its first (`diffusion.windows`).

    Args:
        windows: (S, N of a window, ...) each.
        tokens: video tokens in a frame.
    """
    if len(windows) == 1:
        return next(iter(windows.values()))
    end = max(start * tokens + part.shape[1] for start, part in windows.items())
    first = next(iter(windows.values()))
    total, count = first.new_zeros(len(first), end, *first.shape[2:]), first.new_zeros(end)
    covered = 0
    for start, part in sorted(windows.items()):
        lead = tokens if start * tokens < covered else 0
        covered = start * tokens + part.shape[1]
        here = slice(start * tokens + lead, covered)
        total[:, here] += part[:, lead:]
        count[here] += 1
    return total / count.view(-1, *[1] * (first.ndim - 2))


def _of_subjects(references: References, row: int, q: Tensor, k: Tensor, *bias: Tensor) -> Tensor:
    """The attention weights of one row of the batch, (S, N, M)."""
    if references.binding == "separate":
        rows = slice(row * references.subjects, (row + 1) * references.subjects)
        return attention_weights(q[rows], k[rows], *(b[rows] for b in bias))
    (weights,) = attention_weights(q[[row]], k[[row]], *(b[[row]] for b in bias))  # (N, S M)
    return rearrange(weights, "n (s m) -> s n m", s=references.subjects)


def _strength(references: References, row: int, weights: Tensor) -> Tensor:
    """How strongly each video token reads each subject of one row, (S, N) float32."""
    one = references.select(torch.tensor([row], device=references.tokens.device))
    scale = torch.as_tensor(one.scale, dtype=torch.float32).cpu().expand(1, references.subjects)[0]
    strength = scale[:, None].expand(weights.shape[:2])
    if one.where is not None:
        strength = strength * one.where[0].float().cpu()
    return strength if references.binding == "separate" else strength * weights.sum(dim=-1)


def attention_weights(q: Tensor, k: Tensor, bias: Tensor | None = None) -> Tensor:
    """Attention weights as in `model.eager`, averaged over heads one by one to save memory.

    (B, H, N, D), (B, H, M, D), bias (B, 1, 1, M) -> (B, N, M) float32.
    """
    added = 0 if bias is None else bias[:, 0].float()  # (B, 1, M)
    scores = (head_q.float() @ head_k.float().mT for head_q, head_k in zip(q.unbind(1), k.unbind(1), strict=True))
    total = sum(torch.softmax(score * q.shape[-1] ** -0.5 + added, dim=-1) for score in scores)
    assert isinstance(total, Tensor)
    return total / q.shape[1]


def information(attention: Tensor) -> Tensor:
    """Information of attention weights in bits, relative to the mean over the video: w log2(w / mean of w).

    A value is positive where a token attends to an image patch more than the video does on average. Summed over the
    patches it is the divergence of a token's attention from the mean; summed over everything and divided by N it is the
    mutual information between positions in the video and in the image. Patches to which all tokens attend equally, such
    as CLIP tokens without local content, contribute nothing.

    Args:
        attention: (N, patches), rows sum to 1.
    """
    mean = attention.mean(dim=0, keepdim=True)
    return torch.special.xlogy(attention, attention / mean.clamp_min(1e-30)) / torch.log(torch.tensor(2.0))
