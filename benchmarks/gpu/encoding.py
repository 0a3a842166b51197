"""Encoding clips as `refilm data encode` does: clips per second, without reading videos and writing the cache.

A clip has one caption and one reference image; all three encoders have random weights and run one clip at a time.
"""

from typing import Any

import torch

from gpu.models import Sizes, random_codec, randomized, sizes_for
from gpu.part import Run
from gpu.timing import once
from refilm.backbones.t5 import T5Config, T5Encoder
from refilm.encoders.clip import ClipConfig, ClipVision


def measure(run: Run) -> None:
    """Seconds and memory of each encoder, and clips per second of all three."""
    sizes = sizes_for(tiny=run.tiny)
    encoders = {
        "video": video_encoder(sizes, run.device, run.dtype),
        "caption": text_encoder(sizes, run.device, run.dtype),
        "image": image_encoder(sizes, run.device, run.dtype),
    }
    with torch.inference_mode():
        run.compare({name: once(encode) for name, encode in encoders.items()}, turns=3)
    seconds = [run.cases[name].get("seconds") for name in encoders]
    if None not in seconds:
        run.add("clip", {"seconds": sum(seconds), "clips_per_second": 1 / sum(seconds)})


def video_encoder(sizes: Sizes, device: torch.device, dtype: torch.dtype) -> Any:
    """A function that encodes a video's frames to latents."""
    codec = random_codec(sizes, device=device, dtype=dtype)
    video = torch.randint(256, (1, sizes.frames, sizes.height, sizes.width, 3), dtype=torch.uint8)
    return lambda: codec.posterior(video)


def text_encoder(sizes: Sizes, device: torch.device, dtype: torch.dtype) -> Any:
    """A function that encodes a caption's tokens, padded to their full number."""
    config = T5Config(model_type="t5", **sizes.text)
    model = randomized(lambda: T5Encoder(config), device=device, dtype=dtype)
    tokens = torch.randint(config.vocab_size, (1, sizes.transformer.text_length), device=device)
    return lambda: model(tokens)


def image_encoder(sizes: Sizes, device: torch.device, dtype: torch.dtype) -> Any:
    """A function that encodes an image that has been resized and normalized."""
    config = ClipConfig(**sizes.image)
    model = randomized(lambda: ClipVision(config), device=device, dtype=dtype)
    pixels = torch.randn(1, 3, config.image_size, config.image_size, device=device, dtype=dtype)
    return lambda: model(pixels, skipped=1)
