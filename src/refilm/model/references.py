"""The references of a batch: what the reference attention of every block reads.

Letters: B samples, S subjects, M reference tokens per subject (of all its views), N video tokens, D channels; H heads
of d channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from refilm.errors import UserError

Binding = Literal["separate", "joint"]
"""How video tokens read several subjects, see `refilm.model.binding`."""


def _require(name: str, given: Tensor | None, shape: tuple[int, ...], meaning: str) -> None:
    if given is not None and given.shape != shape:
        raise UserError(f"references: {name} must be {shape}, {meaning}, received {tuple(given.shape)}")


@dataclass(frozen=True, eq=False)
class References:
    """The projected tokens of all subjects' images, how much each token counts, and where a subject may appear.

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
    binding: Binding = "separate"
    """How video tokens read several subjects."""
    keys_values: Tensor | None = None
    """(blocks, 2, B, S, H, M, d): every block's keys and values of the tokens, computed once by `Adapter.prepared`;
    within a block without the first axis. None: blocks compute them from the tokens in every forward pass."""

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
        absent = tuple(part is None for part in (self.weight, self.where, self.keys_values))
        return self.tokens.shape[1:], absent, self.binding, type(self.scale), scale

    @property
    def hidden(self) -> Tensor | None:
        """Subjects without any visible token, which add nothing: (B, S) bool. None: all subjects have some."""
        return None if self.weight is None else (self.weight <= 0).all(dim=-1)

    @property
    def bias(self) -> Tensor | None:
        """The term to add to the attention scores of each token, (B, S, M); 0 for all tokens of hidden subjects."""
        hidden = self.hidden
        if self.weight is None or hidden is None:
            return None
        shown = hidden[..., None] | (self.weight > 0)  # a softmax over nothing would be NaN
        weight = torch.where(self.weight > 0, self.weight, 1.0)  # so is the gradient of the logarithm at 0
        return weight.log().masked_fill(~shown, -torch.inf).to(self.tokens.dtype)

    def combined(self, terms: Tensor) -> Tensor:
        """Scale the terms of subjects that are read separately, and add them: (B S, N, D) -> (B, N, D)."""
        found, terms = terms, terms.unflatten(0, (-1, self.subjects))  # (B, S, N, D)
        scale = self.scale[..., None, None].to(found.device) if isinstance(self.scale, Tensor) else self.scale
        terms = scale * terms
        if self.where is not None:
            terms = self.where[..., None].to(found.device) * terms
        if (hidden := self.hidden) is not None:
            terms = torch.where(hidden[..., None, None], 0.0, terms)
        terms = in_dtype_of(found, terms)
        return terms.squeeze(1) if self.subjects == 1 else terms.sum(dim=1)

    def in_block(self, index: int) -> "References":
        """The same references with the scale, the keys and the values of one block."""
        scale, kept = self.scale, self.keys_values
        if isinstance(scale, Tensor) and scale.ndim == 3:
            scale = scale[index if len(scale) > 1 else 0]
        if kept is not None and kept.ndim == 7:
            kept = kept[index]
        return (
            self if scale is self.scale and kept is self.keys_values else replace(self, scale=scale, keys_values=kept)
        )

    def placed(self) -> "References":
        """The same references with weights, masks and scales on the device of their tokens."""
        device, parts = self.tokens.device, (self.weight, self.where, self.scale)
        if all(part.device == device for part in parts if isinstance(part, Tensor)):
            return self
        return replace(
            self,
            weight=None if self.weight is None else self.weight.to(device),
            where=None if self.where is None else self.where.to(device),
            scale=self.scale.to(device) if isinstance(self.scale, Tensor) else self.scale,
        )

    def scaled(self, factor: Tensor | float) -> "References":
        """The same references with their scale multiplied: by one factor, (B, S), or (blocks, B, S)."""
        return replace(self, scale=factor * self.scale)

    def in_frames(self, frames: Tensor, *, of: int) -> "References":
        """The references of some token frames of a video.

        Args:
            frames: indices of the token frames.
            of: token frames of the whole video.

        Raises:
            UserError: the mask does not divide into that many frames.
        """
        if self.where is None:
            return self
        if self.where.shape[2] % of:
            raise UserError(f"references: where has {self.where.shape[2]} video tokens, no multiple of {of} frames")
        where = self.where.unflatten(2, (of, -1))  # (B, S, n, h w)
        return replace(self, where=where[:, :, frames.to(where.device)].flatten(2))

    def select(self, which: Tensor) -> "References":
        """The references of a subset of the samples: `which` contains their indices, or is a boolean mask."""
        whole = self.expand(len(self.tokens))
        return replace(
            whole,
            tokens=whole.tokens[which],
            weight=None if whole.weight is None else whole.weight[which],
            where=None if whole.where is None else whole.where[which],
            scale=whole.scale[..., which, :] if isinstance(whole.scale, Tensor) else whole.scale,
            keys_values=None if whole.keys_values is None else whole.keys_values[..., which, :, :, :, :],
        )

    def expand(self, batch: int) -> "References":
        """One sample's references for every sample of a batch; those of a whole batch are unchanged."""
        return replace(
            self,
            tokens=_expanded(self.tokens, -4, batch),
            weight=None if self.weight is None else _expanded(self.weight, -3, batch),
            where=None if self.where is None else _expanded(self.where, -3, batch),
            scale=_expanded(self.scale, -2, batch) if isinstance(self.scale, Tensor) else self.scale,
            keys_values=None if self.keys_values is None else _expanded(self.keys_values, -5, batch),
        )

    @staticmethod
    def joined(parts: Sequence["References"]) -> "References":
        """References of the same layout as one batch, in this order."""
        weights = [part.weight for part in parts if part.weight is not None]
        wheres = [part.where for part in parts if part.where is not None]
        whole = (part.expand(len(part.tokens)).scale for part in parts)
        scales = [scale for scale in whole if isinstance(scale, Tensor)]
        kept = [part.keys_values for part in parts if part.keys_values is not None]
        return References(
            torch.cat([part.tokens for part in parts]),
            torch.cat(weights) if weights else None,
            torch.cat(wheres) if wheres else None,
            torch.cat(scales, dim=-2) if scales else parts[0].scale,
            parts[0].binding,
            torch.cat(kept, dim=-5) if kept else None,
        )


def in_dtype_of(found: Tensor, term: Tensor) -> Tensor:
    """A term in the dtype of what was found; within autocast float32 factors make float32 tokens, as elsewhere."""
    device = found.device.type
    autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return term if autocast else term.to(found.dtype)


def _expanded(tensor: Tensor, axis: int, count: int) -> Tensor:
    sizes = [-1] * tensor.ndim
    sizes[axis] = count
    return tensor.expand(sizes)
