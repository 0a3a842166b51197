"""Models with random weights at the published sizes of CogVideoX-2B, or at tiny ones."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import nn

from refilm.backbones.cogvideox import sizes
from refilm.backbones.cogvideox.autoencoder import Autoencoder, AutoencoderSize, VideoAutoencoder
from refilm.backbones.cogvideox.sizes import TransformerSize
from refilm.backbones.cogvideox.transformer import Transformer
from refilm.geometry import AdapterSize, Compression
from refilm.model import Adapter, RunBlock, plain
from refilm.weights.tensors import unfilled

T5_XXL = {
    "vocab_size": 32128,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}
CLIP_VISION_L = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
}
REFERENCE_TOKENS = 257

AnyModule = TypeVar("AnyModule", bound=nn.Module)


T5_TINY = T5_XXL | {"vocab_size": 64, "d_model": 32, "d_ff": 64, "num_layers": 1, "num_heads": 2}
CLIP_TINY = CLIP_VISION_L | {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
}


@dataclass(frozen=True)
class Sizes:
    """The sizes of a model and of its videos. The defaults are CogVideoX-2B's."""

    transformer: TransformerSize = field(default_factory=sizes.cogvideox_2b)
    autoencoder: AutoencoderSize = field(default_factory=AutoencoderSize)
    text: dict[str, Any] = field(default_factory=lambda: T5_XXL)
    image: dict[str, Any] = field(default_factory=lambda: CLIP_VISION_L)
    frames: int = 49
    height: int = 480
    width: int = 720

    @property
    def compression(self) -> Compression:
        """Compression factors of the autoencoder, with the patch of the transformer."""
        return self.autoencoder.compression.read_by(self.transformer)

    @property
    def latents(self) -> tuple[int, int, int, int]:
        """The shape of a video's latents, (T, C, h, w)."""
        place = self.compression.latent_size(self.height, self.width)
        return self.compression.latent_frames(self.frames), self.transformer.channels, *place

    @property
    def described(self) -> dict[str, Any]:
        """The sizes as facts of a result."""
        return {"layers": self.transformer.layers, "width": self.transformer.width, "latents": self.latents}


TINY = Sizes(
    transformer=replace(sizes.cogvideox_2b(), layers=2, heads=2, text_dim=32, text_length=16, time_dim=32),
    autoencoder=AutoencoderSize(channels=(32, 32, 32, 64), layers=1),
    text=T5_TINY,
    image=CLIP_TINY,
    frames=17,
    height=48,
    width=64,
)


def sizes_for(*, tiny: bool) -> Sizes:
    """CogVideoX-2B's sizes, or tiny ones."""
    return TINY if tiny else Sizes()


@torch.no_grad()
def randomized(create: Callable[[], AnyModule], *, device: torch.device, dtype: torch.dtype) -> AnyModule:
    """A module with random weights that keep activations at about unit variance, the same ones every time.

    Unlike with the small weights of a new module, its gates are open, so that every layer affects the output. On the
    device `meta` it has no weights.
    """
    with unfilled():
        module = create().to(dtype)
    if device.type == "meta":
        return module.requires_grad_(False).eval()
    module.to_empty(device=device)
    assert not list(module.buffers())  # they would stay without content
    rng = torch.Generator(device).manual_seed(0)
    for name, weight in module.named_parameters():
        if weight.ndim > 1:
            weight.normal_(std=weight[0].numel() ** -0.5, generator=rng)
        else:
            weight.normal_(mean=float(name.endswith("weight")), std=0.1, generator=rng)
    return module.requires_grad_(False).eval()


def random_transformer(size: TransformerSize, *, device: torch.device, dtype: torch.dtype) -> Transformer:
    """A transformer."""
    return randomized(lambda: Transformer(size), device=device, dtype=dtype)


def random_adapter(size: TransformerSize, *, device: torch.device, dtype: torch.dtype) -> Adapter:
    """An adapter for transformers of that size."""
    return randomized(lambda: Adapter(AdapterSize.of(size)), device=device, dtype=dtype)


def random_codec(sizes: Sizes, *, device: torch.device, dtype: torch.dtype) -> VideoAutoencoder:
    """An autoencoder that decodes 2 latent frames at a time."""
    model = randomized(lambda: Autoencoder(sizes.autoencoder), device=device, dtype=dtype)
    return VideoAutoencoder(model, sizes.compression)


def compiled_blocks(compiler: str) -> RunBlock:
    """A `run_block` for trunks that compiles a block for each shape of its input, as one graph."""
    return torch.compile(plain, fullgraph=True, dynamic=False, backend=compiler)
