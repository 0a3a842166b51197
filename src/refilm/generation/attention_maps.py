"""What video tokens look at in the reference image: collected while a video is made, without changing it.

Letters: B videos, N video tokens, M reference tokens, H heads, D channels of a head.
Knows attention alone; `explain` makes images of it.
"""

import itertools
from collections.abc import Container

import torch
from torch import Tensor

from refilm.diffusion import Predict
from refilm.model import Kernel, ReferenceAttention, Transformer, swapped


class AttentionMaps:
    """WrapPrediction for `Pipeline.sample` that notes every block's reference attention, averaged over heads.

    The kernels that compute the video stay the same, so that the video does, bit for bit; weights are computed beside
    them. One for one run.

    Args:
        steps: at which of the sampler's steps to look, from 0; none: at all.
    """

    def __init__(self, *, steps: Container[int] | None = None):
        self.steps = steps
        self._sums: dict[int, Tensor] = {}
        self._counts: dict[int, int] = {}

    def __call__(self, predict: Predict, transformer: Transformer) -> Predict:
        """The same prediction, watched."""
        indices = itertools.count()

        def watched(latents: Tensor, timestep: int, share: float) -> Tensor:
            index, blocks = next(indices), itertools.count()
            if self.steps is not None and index not in self.steps:
                return predict(latents, timestep, share)
            with swapped(
                transformer,
                ReferenceAttention,
                kernel=lambda kernel: self._watching(kernel, next(blocks), len(latents)),
            ):
                return predict(latents, timestep, share)

        return watched

    def blocks(self) -> Tensor:
        """How each block's attention was shared out, over the steps' mean: (blocks, B, N, M) float32, rows sum to 1.

        Raises:
            ValueError: no reference was looked at.
        """
        if not self._sums:
            raise ValueError(
                "nothing looked at a reference: give one, a reference_scale above 0, and steps that are run"
            )
        return torch.stack([self._sums[block] / self._counts[block] for block in sorted(self._sums)])

    def _watching(self, kernel: Kernel, block: int, videos: int) -> Kernel:
        def watching(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            weights = shares(q[-videos:], k[-videos:]).cpu()  # guidance puts the conditional branch last
            self._sums[block] = self._sums[block] + weights if block in self._sums else weights
            self._counts[block] = self._counts.get(block, 0) + 1
            return kernel(q, k, v)

        return watching


def shares(q: Tensor, k: Tensor) -> Tensor:
    """Attention weights as in `model.eager`, averaged over heads one by one to save memory.

    (B, H, N, D), (B, H, M, D) -> (B, N, M) float32.
    """
    scores = (head_q.float() @ head_k.float().mT for head_q, head_k in zip(q.unbind(1), k.unbind(1), strict=True))
    total = sum(torch.softmax(score * q.shape[-1] ** -0.5, dim=-1) for score in scores)
    assert isinstance(total, Tensor)
    return total / q.shape[1]


def information(looks: Tensor) -> Tensor:
    """How much a look tells, in bits: w log2(w / mean of w), where the mean look of the whole video tells nothing.

    Tokens that attend to some place more than the video does on the whole get positive values there. Over the image
    they sum up to a token's divergence from the mean look, over everything (divided by N) to the mutual information
    of places in the video and places in the image. What all tokens look at alike, as they do at CLIP's tokens that
    hold no place, counts for nothing.

    Args:
        looks: (N, places), rows sum to 1.
    """
    mean = looks.mean(dim=0, keepdim=True)
    return torch.special.xlogy(looks, looks / mean.clamp_min(1e-30)) / torch.log(torch.tensor(2.0))
