"""The adapter: a reference attention layer for every block and the image projection. It owns all trained weights.

Letters: B samples, S subjects, N video tokens, M reference tokens, D channels of a token, H heads of d channels;
E channels of the image encoder.
"""

from dataclasses import replace
from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn

from refilm.errors import UserError
from refilm.geometry import AdapterSize
from refilm.model.attention import Attention
from refilm.model.backbone import Backbone
from refilm.model.binding import READS
from refilm.model.references import Binding, References


class ReferenceAttention(Attention):
    """Cross-attention from video tokens to reference tokens. `out` is initialized to zero: a new layer adds nothing."""

    def __init__(self, size: AdapterSize):
        super().__init__(size.heads)
        self.norm = nn.LayerNorm(size.width, elementwise_affine=False) if size.query_norm else nn.Identity()
        self.query = nn.Linear(size.width, size.width)
        self.key_value = nn.Linear(size.width, 2 * size.width)
        self.out = nn.Linear(size.width, size.width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, video: Tensor, references: References) -> Tensor:
        """The term to add to the video tokens: (B, N, D) -> (B, N, D)."""
        q = rearrange(self.query(self.norm(video)), "b n (h d) -> b h n d", h=self.heads)
        k, v = self.keys_values(references.tokens) if references.keys_values is None else references.keys_values
        read = READS[references.binding]
        return read(q, k, v, references, self.kernel, self.out)

    def keys_values(self, tokens: Tensor) -> Tensor:
        """Keys and values of projected reference tokens: (B, S, M, D) -> (2, B, S, H, M, d)."""
        return rearrange(self.key_value(tokens), "b s m (two h d) -> two b s h m d", two=2, h=self.heads)


class Adapter(nn.Module):
    """Puts an image's subject into a frozen transformer's videos."""

    def __init__(self, size: AdapterSize):
        super().__init__()
        self.size = size
        self.projection = nn.Linear(size.reference_dim, size.width)
        self.layers = nn.ModuleList(ReferenceAttention(size) for _ in range(size.layers))

    def references(
        self,
        tokens: Tensor,
        *,
        weight: Tensor | None = None,
        where: Tensor | None = None,
        scale: Tensor | float = 1.0,
        binding: Binding = "separate",
    ) -> References:
        """Project the tokens of the image encoder.

        Args:
            tokens: (B, M, E) of one subject per sample, or (B, S, M, E) of several.
            weight: (B, S, M), see `References`.
            where: (B, S, N), see `References`.
            scale: factor on the output of the reference attention; (B,) sets it per sample, (B, S) per subject,
                (blocks, B, S) per block too.
            binding: how video tokens read several subjects.

        Raises:
            UserError: the shapes do not match.
        """
        width = self.size.reference_dim
        if tokens.ndim not in (3, 4) or tokens.shape[-1] != width:
            received = tuple(tokens.shape)
            raise UserError(f"references: tokens must be (B, M, {width}) or (B, S, M, {width}), received {received}")
        projected = self.projection(tokens)
        if isinstance(scale, Tensor) and scale.ndim == 1:
            scale = scale[:, None]
        return References(projected if tokens.ndim == 4 else projected[:, None], weight, where, scale, binding)

    def prepared(self, references: References) -> References:
        """The same references with every block's keys and values, which the blocks then need not compute again."""
        made = [cast(ReferenceAttention, layer).keys_values(references.tokens) for layer in self.layers]
        return replace(references, keys_values=torch.stack(made))

    def attach(self, transformer: Backbone) -> None:
        """Fill the transformer's reference slots with this adapter's layers.

        Raises:
            UserError: family or sizes do not match, or another adapter is attached; the transformer is left unchanged.
        """
        blocks = transformer.trunk.blocks
        if self.size.family != transformer.family:
            raise UserError(
                f"an adapter of the family {self.size.family} does not fit a transformer of the family "
                f"{transformer.family}"
            )
        wanted, given = (transformer.size.layers, transformer.size.width), (self.size.layers, self.size.width)
        if wanted != given:
            raise UserError(
                f"an adapter with {given[0]} layers, {given[1]} channels does not fit "
                f"a transformer with {wanted[0]} layers, {wanted[1]} channels"
            )
        if transformer.has_adapter:
            raise UserError("the transformer already has an adapter; detach it first")
        for block, layer in zip(blocks, self.layers, strict=True):
            block.reference = layer

    @staticmethod
    def detach(transformer: Backbone) -> None:
        """Empty the transformer's reference slots, which restores the bare model."""
        for block in transformer.trunk.blocks:
            block.reference = None  # pyright: ignore[reportArgumentType]


def freeze_all_but(adapter: Adapter, transformer: Backbone) -> None:
    """Make only the adapter's parameters trainable. The transformer's weights are frozen; its mode does not change."""
    transformer.requires_grad_(False)
    adapter.requires_grad_(True)


def trained_parameters(module: nn.Module) -> dict[str, torch.nn.Parameter]:
    """The trainable parameters by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}
