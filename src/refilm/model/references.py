"""The references of a batch: what the reference attention of every block reads.

Letters: B samples, S subjects, M reference tokens per subject (of all its views), N video tokens, D channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from refilm.errors import UserError


def _require(name: str, given: Tensor | None, shape: tuple[int, ...], meaning: str) -> None:
    if given is not None and given.shape != shape:
        raise UserError(f"references: {name} must be {shape}, {meaning}, received {tuple(given.shape)}")


@dataclass(frozen=True, eq=False)
class References:
    """The projected tokens of all subjects' images, how much each token counts, and where a subject may appear.

    Every subject has an attention of its own, and their terms are added: the sum over all subjects s of
    scale_s where_s attention(video, tokens_s).

    Raises:
        UserError: the shapes do not match.
    """

    tokens: Tensor
    """(B, S, M, D), projected by the adapter."""
    weight: Tensor | None = None
    """(B, S, M); its logarithm is added to the attention scores: 0 or less hides a token, such as padding or a
    masked patch, and 1 has no effect. A subject whose tokens are all hidden adds nothing. None: all are 1."""
    where: Tensor | None = None
    """(B, S, N), 0..1: how strongly each video token sees a subject; a mask, still or per frame. None: all are 1."""
    scale: Tensor | float = 1.0
    """Factor on the terms: (B, S), or (blocks, B, S) for one per block; axes of size 1 are broadcast. 0 is the same as
    no reference."""

    def __post_init__(self) -> None:
        if self.tokens.ndim != 4:
            raise UserError(f"references: tokens must be (B, S, M, D), received {tuple(self.tokens.shape)}")
        batch, subjects, tokens, _ = self.tokens.shape
        _require("weight", self.weight, (batch, subjects, tokens), "one per token")
        if self.where is not None and (self.where.ndim != 3 or self.where.shape[:2] != (batch, subjects)):
            raise UserError(
                f"references: where must be ({batch}, {subjects}, N), one per video token, received "
                f"{tuple(self.where.shape)}"
            )
        if isinstance(self.scale, Tensor):
            rows, columns = self.scale.shape[-2:] if self.scale.ndim in (2, 3) else (0, 0)
            if rows not in (1, batch) or columns not in (1, subjects):
                raise UserError(
                    f"references: scale must be ({batch}, {subjects}), or have one more axis for the blocks, received "
                    f"{tuple(self.scale.shape)}"
                )

    def require_fit(self, *, batch: int, video_tokens: int, blocks: int) -> None:
        """Check the sizes that a forward pass needs.

        Raises:
            UserError: there is another number of samples, video tokens or blocks.
        """
        if len(self) != batch:
            raise UserError(f"references: of {len(self)} samples, but there are {batch}")
        if self.where is not None and self.where.shape[2] != video_tokens:
            raise UserError(
                f"references: where has {self.where.shape[2]} video tokens, but these latents have {video_tokens}"
            )
        if isinstance(self.scale, Tensor) and self.scale.ndim == 3 and len(self.scale) not in (1, blocks):
            raise UserError(f"references: scale has {len(self.scale)} blocks, the transformer {blocks}")

    def __len__(self) -> int:
        """Number of samples, B."""
        return len(self.tokens)

    @property
    def subjects(self) -> int:
        """Number of subjects, S."""
        return self.tokens.shape[1]

    @property
    def layout(self) -> tuple[object, ...]:
        """Equal for references that `joined` can join."""
        scale = self.scale.ndim if isinstance(self.scale, Tensor) else float(self.scale)
        return self.tokens.shape[1:], self.weight is None, self.where is None, type(self.scale), scale

    def bias(self) -> Tensor | None:
        """The term to add to the attention scores of each subject, (B S, 1, 1, M)."""
        if self.weight is None:
            return None
        shown = self._hidden()[..., None] | (self.weight > 0)  # a softmax over nothing would be NaN
        weight = torch.where(self.weight > 0, self.weight, 1.0)  # so is the gradient of the logarithm at 0
        return weight.log().masked_fill(~shown, -torch.inf).flatten(0, 1)[:, None, None].to(self.tokens.dtype)

    def combined(self, found: Tensor) -> Tensor:
        """Scale the subjects' terms and add them: (B S, N, D) -> (B, N, D)."""
        terms = found.unflatten(0, (-1, self.subjects))  # (B, S, N, D)
        scale = self.scale[..., None, None].to(found.device) if isinstance(self.scale, Tensor) else self.scale
        terms = scale * terms
        if self.where is not None:
            terms = self.where[..., None].to(found.device) * terms
        if self.weight is not None:
            terms = torch.where(self._hidden()[..., None, None], 0.0, terms)
        if not torch.is_autocast_enabled(found.device.type):  # within it float32 factors make float32 tokens
            terms = terms.to(found.dtype)
        return terms.squeeze(1) if self.subjects == 1 else terms.sum(dim=1)

    def in_block(self, index: int) -> "References":
        """The same references with the scale of one block."""
        if not isinstance(self.scale, Tensor) or self.scale.ndim == 2:
            return self
        return replace(self, scale=self.scale[index if len(self.scale) > 1 else 0])

    def select(self, which: Tensor) -> "References":
        """The references of a subset of the samples: `which` contains their indices, or is a boolean mask."""
        whole = self.expand(len(self.tokens))
        return replace(
            whole,
            tokens=whole.tokens[which],
            weight=None if whole.weight is None else whole.weight[which],
            where=None if whole.where is None else whole.where[which],
            scale=whole.scale[..., which, :] if isinstance(whole.scale, Tensor) else whole.scale,
        )

    def expand(self, batch: int) -> "References":
        """One sample's references for every sample of a batch; those of a whole batch are unchanged."""
        return replace(
            self,
            tokens=self.tokens.expand(batch, -1, -1, -1),
            weight=None if self.weight is None else self.weight.expand(batch, -1, -1),
            where=None if self.where is None else self.where.expand(batch, -1, -1),
            scale=self.scale.expand(*self.scale.shape[:-2], batch, -1)
            if isinstance(self.scale, Tensor)
            else self.scale,
        )

    @staticmethod
    def joined(parts: Sequence["References"]) -> "References":
        """References of the same layout as one batch, in this order."""
        weights = [part.weight for part in parts if part.weight is not None]
        wheres = [part.where for part in parts if part.where is not None]
        whole = (part.expand(len(part.tokens)).scale for part in parts)
        scales = [scale for scale in whole if isinstance(scale, Tensor)]
        return References(
            torch.cat([part.tokens for part in parts]),
            torch.cat(weights) if weights else None,
            torch.cat(wheres) if wheres else None,
            torch.cat(scales, dim=-2) if scales else parts[0].scale,
        )

    def _hidden(self) -> Tensor:
        """Subjects without any visible token: (B, S) bool."""
        assert self.weight is not None
        return (self.weight <= 0).all(dim=-1)
