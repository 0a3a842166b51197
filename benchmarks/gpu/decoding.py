"""Decoding one video: refilm's autoencoder, a few latent frames at a time or all at once, and diffusers'.

`psnr` compares the pixels with those of refilm's default, 2 latent frames at a time. Tiles, and how many frames are
decoded at once, change the pixels, because the norms' statistics depend on them.
"""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpu.comparing import likeness
from gpu.models import random_codec, sizes_for
from gpu.part import Run
from gpu.timing import Clock, Execution, Facts
from refilm.backbones.autoencoders import to_pixels
from refilm.backbones.cogvideox.autoencoder import VideoAutoencoder, save_autoencoder

DEFAULT = "refilm, 2 latent frames at a time"
REFILM = {DEFAULT: 2, "refilm, 4 latent frames at a time": 4, "refilm, all at once": None}
DIFFUSERS = {"diffusers": False, "diffusers, tiled": True}


def measure(run: Run) -> None:
    """Seconds and memory of decoding, and how much the pixels differ."""
    sizes = sizes_for(tiny=run.tiny)
    latents = torch.randn(1, *sizes.latents, generator=torch.Generator().manual_seed(0)).to(run.device)
    codec = random_codec(sizes, device=run.device, dtype=run.dtype)
    theirs = run.obtain(DIFFUSERS, lambda: of_diffusers(codec))
    decoders = {name: partial(by_refilm, codec, latents, frames) for name, frames in REFILM.items()}
    if theirs is not None:
        decoders |= {name: partial(by_diffusers, theirs, latents, tiled) for name, tiled in DIFFUSERS.items()}
    videos: dict[str, Tensor] = {}
    run.compare({name: keeping(videos, name, decode) for name, decode in decoders.items()}, turns=2)
    for name, video in videos.items():
        run.add(name, likeness(video, videos[DEFAULT], peak=255))


def keeping(videos: dict[str, Tensor], name: str, decode: partial[Tensor]) -> Execution:
    """The execution of a decoder that keeps the video for comparison."""

    def execution(clock: Clock) -> Facts:
        clock.tick()
        video = decode()
        clock.tick()
        videos[name] = video.cpu()
        return {}

    return execution


def by_refilm(codec: VideoAutoencoder, latents: Tensor, frames: int | None) -> Tensor:
    """Decode that many latent frames at a time."""
    codec.decode_frames = frames
    return codec.decode(latents)


@torch.no_grad()
def by_diffusers(model: Any, latents: Tensor, tiled: bool) -> Tensor:
    """Decode with the same weights and scaling; diffusers decodes 2 latent frames at a time."""
    model.enable_tiling() if tiled else model.disable_tiling()
    scaled = latents.to(model.dtype).transpose(1, 2) / model.config.scaling_factor
    return to_pixels(model.decode(scaled).sample)


def of_diffusers(codec: VideoAutoencoder) -> Any:
    """The same autoencoder in diffusers."""
    from diffusers import AutoencoderKLCogVideoX

    with tempfile.TemporaryDirectory() as folder:
        save_autoencoder(codec.model, Path(folder))
        model = AutoencoderKLCogVideoX.from_pretrained(folder, torch_dtype=codec.model.dtype)
    return model.to(codec.model.device)
