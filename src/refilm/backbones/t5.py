"""The encoders of T5 (Raffel et al. 2020, arXiv 1910.10683) and UMT5 (Chung et al. 2023, arXiv 2304.09151), which
text-to-video models use for prompts.

Letters: B prompts, L tokens, D channels, H heads of width d. Weights have the same names as in the files of
transformers. Attention has no mask, so padding tokens take part in it. For inference only: there is no dropout.
"""

import math
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from refilm.errors import UserError
from refilm.geometry import Heads, Layers, Width
from refilm.weights.configs import Config, Small


class T5Config(Config):
    """The part of `config.json` that determines the encoder, with the defaults of transformers."""

    shared_positions: ClassVar = True
    """Whether the biases of the first layer are those of all layers."""

    model_type: Literal["t5"]
    vocab_size: Annotated[int, Field(ge=1, le=1 << 20)] = 32128
    d_model: Width = 512
    d_kv: Heads = 64
    d_ff: Annotated[int, Field(ge=1, le=1 << 18)] = 2048
    num_layers: Layers = 6
    num_heads: Heads = 8
    relative_attention_num_buckets: Annotated[int, Field(ge=4, le=4096)] = 32
    relative_attention_max_distance: Annotated[int, Field(ge=1, le=1 << 16)] = 128
    layer_norm_epsilon: Small = 1e-6
    feed_forward_proj: Literal["relu", "gated-gelu"] = "relu"

    @model_validator(mode="after")
    def _far(self) -> "T5Config":
        if self.relative_attention_max_distance < self.relative_attention_num_buckets:
            raise UserError("relative_attention_max_distance: must be at least relative_attention_num_buckets")
        return self


class UMT5Config(T5Config):
    """The same of UMT5, in which each layer has its own biases of relative positions."""

    shared_positions: ClassVar = False

    model_type: Literal["umt5"]  # pyright: ignore[reportIncompatibleVariableOverride]
    vocab_size: Annotated[int, Field(ge=1, le=1 << 20)] = 250112
    d_ff: Annotated[int, Field(ge=1, le=1 << 18)] = 1024
    num_layers: Layers = 8
    num_heads: Heads = 6
    feed_forward_proj: Literal["relu", "gated-gelu"] = "gated-gelu"


class Norm(nn.Module):
    """Root-mean-square norm without a bias; its statistics are computed in float32."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D) in the dtype of the weight."""
        scale = torch.rsqrt(x.float().square().mean(-1, keepdim=True) + self.eps)
        return self.weight * (x * scale).to(self.weight.dtype)


class Attention(nn.Module):
    """Self-attention. Scores are not divided by the root of the width; a bias for relative positions is added."""

    def __init__(self, config: T5Config, *, positions: bool):
        super().__init__()
        inner, self.width = config.num_heads * config.d_kv, config.d_kv
        self.q, self.k, self.v = (nn.Linear(config.d_model, inner, bias=False) for _ in range(3))
        self.o = nn.Linear(inner, config.d_model, bias=False)
        if positions:
            self.relative_attention_bias = nn.Embedding(config.relative_attention_num_buckets, config.num_heads)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, L, D), bias (1, H, L, L) -> (B, L, D)."""
        q, k, v = (made(x).unflatten(-1, (-1, self.width)).transpose(1, 2) for made in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)  # (B, H, L, d)
        return self.o(y.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two matrices with a ReLU between them."""

    def __init__(self, config: T5Config):
        super().__init__()
        self.wi = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.wo = nn.Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D) in the dtype of the last matrix."""
        return self.wo(F.relu(self.wi(x)).to(self.wo.weight.dtype))


class GatedFeedForward(nn.Module):
    """Two matrices with a gated GELU between them, as in T5 1.1."""

    def __init__(self, config: T5Config):
        super().__init__()
        self.wi_0 = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.wi_1 = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.wo = nn.Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D) in the dtype of the last matrix."""
        return self.wo((_gelu(self.wi_0(x)) * self.wi_1(x)).to(self.wo.weight.dtype))


class Sublayer(nn.Module):
    """Attention or feed-forward with its norm and residual connection."""

    def __init__(self, name: str, inner: nn.Module, config: T5Config):
        super().__init__()
        self.name, self.layer_norm = name, Norm(config.d_model, config.layer_norm_epsilon)
        self.register_module(name, inner)

    def forward(self, x: Tensor, *bias: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        return _within_range(x + self.get_submodule(self.name)(self.layer_norm(x), *bias))


class Block(nn.Module):
    """A layer of the encoder."""

    def __init__(self, config: T5Config, *, positions: bool):
        super().__init__()
        attention = Attention(config, positions=positions)
        forward = (GatedFeedForward if config.feed_forward_proj == "gated-gelu" else FeedForward)(config)
        sublayers = {"SelfAttention": attention, "DenseReluDense": forward}
        self.layer = nn.ModuleList(Sublayer(name, inner, config) for name, inner in sublayers.items())

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, L, D), bias (1, H, L, L) -> (B, L, D)."""
        return self.layer[1](self.layer[0](x, bias))


class Stack(nn.Module):
    """All layers and the final norm."""

    def __init__(self, config: T5Config):
        super().__init__()
        self.config = config
        self.block = nn.ModuleList(Block(config, positions=self.has_positions(n)) for n in range(config.num_layers))
        self.final_layer_norm = Norm(config.d_model, config.layer_norm_epsilon)

    def has_positions(self, layer: int) -> bool:
        """Whether a layer has biases of relative positions; the others use those of the layer before."""
        return layer == 0 or not self.config.shared_positions

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        buckets, bias = self.buckets(x.shape[1], x.device), None
        for layer, block in enumerate(self.block):
            if self.has_positions(layer):
                bias = self.bias(layer, buckets)
            x = block(x, bias)
        return self.final_layer_norm(x)

    def buckets(self, length: int, device: torch.device) -> Tensor:
        """The bucket of each query and key, (L, L)."""
        place, config = torch.arange(length, device=device), self.config
        return bucket(
            place - place[:, None],
            buckets=config.relative_attention_num_buckets,
            farthest=config.relative_attention_max_distance,
        )

    def bias(self, layer: int, buckets: Tensor) -> Tensor:
        """A layer's biases of relative positions: buckets (L, L) -> (1, H, L, L)."""
        table = self.get_submodule(f"block.{layer}.layer.0.SelfAttention.relative_attention_bias")
        return table(buckets).permute(2, 0, 1)[None].contiguous()


class T5Encoder(nn.Module):
    """Token embedding and encoder."""

    def __init__(self, config: T5Config):
        super().__init__()
        self.config = config
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = Stack(config)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token ids (B, L) -> embeddings (B, L, D)."""
        return self.encoder(self.shared(tokens))


def bucket(distance: Tensor, *, buckets: int, farthest: int) -> Tensor:
    """The bucket of each relative position, key minus query; half of the buckets are for keys after the query.

    Half of these have one distance each, the others logarithmically more, up to the distance `farthest`.
    """
    half = buckets // 2
    single = half // 2
    length = distance.abs()
    far = (length.float() / single).log() / math.log(farthest / single) * (half - single)
    far = (single + far.long()).clamp(max=half - 1)
    return (distance > 0).long() * half + torch.where(length < single, length, far)


def _gelu(x: Tensor) -> Tensor:
    """GELU's approximation by tanh, in the operations of T5."""
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x.pow(3))))


def _within_range(x: Tensor) -> Tensor:
    """Values that float16 can represent; large models overflow it."""
    if x.dtype != torch.float16 or not x.isinf().any():
        return x
    most = torch.finfo(x.dtype).max - 1000
    return x.clamp(-most, most)
