"""Joint attention over text and video.

Letters: B samples, H heads, L tokens, D channels per head.
"""

from einops import rearrange
from torch import Tensor, nn

from refilm.backbones.positions import rotate
from refilm.model import TextReader


class JointAttention(TextReader):
    """Self-attention over [text, video] with queries and keys normalized per head. `kernel` can be replaced."""

    def __init__(self, width: int, heads: int):
        super().__init__(heads)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.query_norm = nn.LayerNorm(width // heads, eps=1e-6)
        self.key_norm = nn.LayerNorm(width // heads, eps=1e-6)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor] | None = None) -> Tensor:
        q, k, v = rearrange(self.query_key_value(x), "b l (three h d) -> three b h l d", three=3, h=self.heads)
        q, k = self.query_norm(q).to(v.dtype), self.key_norm(k).to(v.dtype)
        if rotary is not None:
            q, k = rotate(q, *rotary), rotate(k, *rotary)
        return self.out(rearrange(self.kernel(q, k, v), "b h l d -> b l (h d)"))
