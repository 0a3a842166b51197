"""Attention of Wan's blocks: over the video, and from the video to the text.

Letters: B rows, H heads, N video tokens, S text tokens, D channels per token, d channels per head.
"""

from einops import rearrange
from torch import Tensor, nn

from refilm.backbones.positions import rotate
from refilm.backbones.wan.sizes import WanSize
from refilm.model import Attention, TextReader


class VideoAttention(Attention):
    """Self-attention over the video; queries and keys are normalized across all heads, then rotated."""

    def __init__(self, size: WanSize):
        super().__init__(size.heads)
        self.query_key_value = nn.Linear(size.width, 3 * size.width)
        self.query_norm, self.key_norm = (nn.RMSNorm(size.width, eps=size.eps) for _ in range(2))
        self.out = nn.Linear(size.width, size.width)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        """(B, N, D) -> (B, N, D)"""
        q, k, v = self.query_key_value(x).chunk(3, dim=-1)
        q, k = normalized(self.query_norm, q), normalized(self.key_norm, k)
        q, k, v = (rearrange(one, "b n (h d) -> b h n d", h=self.heads) for one in (q, k, v))
        q, k = rotate(q, *rotary), rotate(k, *rotary)
        return self.out(rearrange(self.kernel(q, k, v), "b h n d -> b n (h d)"))


class TextAttention(TextReader):
    """Cross-attention from the video to the text; queries and keys are normalized across all heads."""

    def __init__(self, size: WanSize):
        super().__init__(size.heads)
        self.query = nn.Linear(size.width, size.width)
        self.key_value = nn.Linear(size.width, 2 * size.width)
        self.query_norm, self.key_norm = (nn.RMSNorm(size.width, eps=size.eps) for _ in range(2))
        self.out = nn.Linear(size.width, size.width)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """(B, N, D), (B, S, D) -> (B, N, D)"""
        k, v = self.key_value(text).chunk(2, dim=-1)
        q, k = normalized(self.query_norm, self.query(x)), normalized(self.key_norm, k)
        q, k, v = (rearrange(one, "b n (h d) -> b h n d", h=self.heads) for one in (q, k, v))
        return self.out(rearrange(self.kernel(q, k, v), "b h n d -> b n (h d)"))


def normalized(norm: nn.RMSNorm, x: Tensor) -> Tensor:
    """norm(x) in the dtype of the norm's weight, which under autocast is not that of x; returned in the dtype of x."""
    assert norm.weight is not None
    return norm(x.to(norm.weight.dtype)).to(x.dtype)
