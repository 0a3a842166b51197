"""A complete tiny base model with random weights, in the layout that `refilm.checkpoints.bases` documents.

For tests that need every part and no sense: it knows no critters. Those that need sense take the pocket model.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import CLIPImageProcessor

from refilm.backbones.cogvideox import sizes
from refilm.backbones.cogvideox.autoencoder import Autoencoder, save_autoencoder
from refilm.backbones.cogvideox.transformer import Transformer
from refilm.checkpoints import Defaults, create_base, fingerprint, save_adapter, save_transformer
from refilm.data import critters
from refilm.geometry import AdapterSize
from refilm.media.preprocessing import ImagePreprocessing
from refilm.model import Adapter
from refilm.pocket.autoencoder import AutoencoderSettings, make_autoencoder
from refilm.pocket.contrastive import EncodersSettings, make_image_encoder, make_text_encoder, train_tokenizer

DEFAULTS = Defaults(frames=17, height=32, width=32, steps=4, guidance=3.0, decode_frames=0)
SIZE = replace(sizes.pocket(), layers=2, heads=2)
SIZE_15 = replace(SIZE, position="rotary", patch_time=2)
"""Like CogVideoX 1.5."""


def make_base(folder: Path, size: sizes.TransformerSize = SIZE) -> Path:
    """Write the base model, for a size the same one every time, and return its folder."""
    torch.manual_seed(0)
    save_autoencoder(_autoencoder(), folder / "vae")

    settings = EncodersSettings(text_layers=1, image_layers=2)
    tokenizer = train_tokenizer(folder / "tokenizer", settings)
    make_text_encoder(len(tokenizer), settings).save_pretrained(folder / "text_encoder")
    make_image_encoder(settings).save_pretrained(folder / "image_encoder")
    side = settings.image_size
    CLIPImageProcessor(size={"shortest_edge": side}, crop_size=side).save_pretrained(folder / "image_processor")

    transformer = Transformer(size)
    save_transformer(transformer, folder / "transformer")
    create_base(folder, DEFAULTS, size, snr_shift=1.0)

    adapter = Adapter(AdapterSize.of(size, reference_dim=settings.width))
    for layer in adapter.layers:
        nn.init.normal_(layer.out.weight, std=0.1)  # a fresh one would add nothing
    save_adapter(
        adapter,
        folder / "adapter",
        base_fingerprint=fingerprint(transformer),
        facts={},
        preprocessing=ImagePreprocessing(hidden_state="last"),
    )

    return folder


def _autoencoder() -> Autoencoder:
    """Random, but with latents of unit variance that say something of the clip, and videos that are not all gray."""
    model = make_autoencoder(AutoencoderSettings(channels=(8, 16, 16), curriculum=()))
    with torch.no_grad():
        last = model.encoder.conv_out.conv  # means first, then logarithms of variances
        last.weight[16:], last.bias[16:] = 0, -10
        model.decoder.conv_out.conv.weight *= 4
        clips = [_clip(index) for index in range(8)]
        model.scaling_factor = 1 / model.encode(torch.stack(clips)).mean.std().item()
    return model


def _clip(index: int) -> torch.Tensor:
    """(3, F, H, W), -1..1."""
    video = critters.render(critters.story(0, index, "train"), np.random.default_rng(index))
    return torch.from_numpy(video).permute(3, 0, 1, 2) / 127.5 - 1
