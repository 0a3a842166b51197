"""CLIP's vision tower (Radford et al. 2021, arXiv 2103.00020).

Letters: B images, M tokens, of which the first is the class token, E channels. Weights have the same names as in the
files of transformers.
"""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from refilm.errors import UserError
from refilm.geometry import Layers, Width
from refilm.weights.configs import Config, Small


class ClipConfig(Config):
    """The part of `config.json` that determines the vision tower, with the defaults of transformers."""

    hidden_size: Width = 768
    intermediate_size: Annotated[int, Field(ge=1, le=1 << 18)] = 3072
    num_hidden_layers: Layers = 12
    num_attention_heads: Annotated[int, Field(ge=1, le=1024)] = 12
    num_channels: Literal[3] = 3
    image_size: Annotated[int, Field(ge=1, le=4096)] = 224
    patch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    hidden_act: Literal["quick_gelu", "gelu"] = "quick_gelu"
    layer_norm_eps: Small = 1e-5

    @model_validator(mode="after")
    def _whole(self) -> "ClipConfig":
        if self.hidden_size % self.num_attention_heads:
            raise UserError("hidden_size: must be a multiple of num_attention_heads")
        if self.image_size < self.patch_size:
            raise UserError("image_size: must be at least patch_size")
        return self


class Embeddings(nn.Module):
    """A class token and a token for each patch, with learned positions."""

    def __init__(self, config: ClipConfig):
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(config.hidden_size))
        patch = config.patch_size
        self.patch_embedding = nn.Conv2d(3, config.hidden_size, patch, stride=patch, bias=False)
        self.position_embedding = nn.Embedding((config.image_size // patch) ** 2 + 1, config.hidden_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, M, E)."""
        patches = self.patch_embedding(pixels).flatten(2).transpose(1, 2)  # (B, M - 1, E)
        tokens = torch.cat([self.class_embedding.expand(len(pixels), 1, -1), patches], dim=1)
        return tokens + self.position_embedding.weight


class Attention(nn.Module):
    """Self-attention."""

    def __init__(self, config: ClipConfig):
        super().__init__()
        width, self.heads = config.hidden_size, config.num_attention_heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """(B, M, E) -> (B, M, E)."""
        q, k, v = (
            made(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, M, E / heads)
            for made in (self.q_proj, self.k_proj, self.v_proj)
        )
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two matrices and an activation."""

    def __init__(self, config: ClipConfig):
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.activation = F.gelu if config.hidden_act == "gelu" else _quick_gelu

    def forward(self, x: Tensor) -> Tensor:
        """(B, M, E) -> (B, M, E)."""
        return self.fc2(self.activation(self.fc1(x)))


class Block(nn.Module):
    """A layer of the tower."""

    def __init__(self, config: ClipConfig):
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        self.self_attn, self.layer_norm1 = Attention(config), nn.LayerNorm(width, eps=eps)
        self.mlp, self.layer_norm2 = FeedForward(config), nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, M, E) -> (B, M, E)."""
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Stack(nn.Module):
    """All layers."""

    def __init__(self, config: ClipConfig):
        super().__init__()
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))


class ClipVision(nn.Module):
    """The vision tower. Its last norm, which CLIP applies to the class token alone, is stored but not used."""

    def __init__(self, config: ClipConfig):
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)  # spelled as in the files
        self.encoder = Stack(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, pixels: Tensor, *, skipped: int = 0) -> Tensor:
        """Tokens of normalized images: (B, 3, H, W) -> (B, M, E).

        Args:
            pixels: images of the size in the config.
            skipped: number of layers at the end that are not applied.
        """
        x = self.pre_layrnorm(self.embeddings(pixels))
        for block in self.encoder.layers[: len(self.encoder.layers) - skipped]:
            x = block(x)
        return x


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)
