"""What generating one video needs with each published base model, counted without weights: parameters, arithmetic and
bytes of activations.

    python benchmarks/generation_memory.py

Every part is built at its published size with fake tensors, in bfloat16. `step` is a pass of the transformer with its
adapter over both branches of guidance, at the model's default size; `decode` is the autoencoder, which decodes as many
latent frames at a time as by default. `activations` are the bytes at the peak, without weights. `refilm.doctor` has a
copy of the numbers, which a test compares. Writes benchmarks/results/generation_memory.json, or `--out`.
"""

import argparse
from collections.abc import Callable
from typing import Any

import torch
from gpu.models import CLIP_VISION_L, T5_XXL
from record import RESULTS, add_out, target, write
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from training_memory import BF16, FAKE, MODELS, REFERENCE, Alive, Case, Model, cast
from transformers import CLIPVisionConfig, CLIPVisionModel

from refilm.backbones.cogvideox import autoencoder as cogvideox
from refilm.backbones.t5 import T5Config, T5Encoder, UMT5Config
from refilm.backbones.wan import autoencoder as wan
from refilm.checkpoints.defaults import Defaults

RESULT = RESULTS / "generation_memory.json"
BRANCHES = 2
UMT5_XXL = T5_XXL | {"vocab_size": 256384}


def parameters(module: nn.Module, *, besides: nn.Module | None = None) -> int:
    """The number of parameters, without those of another module."""
    others = set() if besides is None else set(besides.parameters())
    return sum(weight.numel() for weight in module.parameters() if weight not in others)


def cost(run: Callable[[], object], module: nn.Module) -> dict[str, float]:
    """Arithmetic, the part of it in attention, and peak bytes of a call."""
    with FlopCounterMode(display=False) as flops:
        run()
    with Alive(module) as alive:
        run()
    by_operator = flops.get_flop_counts()["Global"].items()
    attention = sum(count for operator, count in by_operator if "attention" in str(operator))
    tflop = {"tflop": flops.get_total_flops(), "attention_tflop": attention}
    return {name: round(count / 1e12, 2) for name, count in tflop.items()} | {"activations": alive.peak}


def encoders(family: str) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Text encoder, autoencoder and image encoder of a family."""
    image = CLIPVisionModel(CLIPVisionConfig(**CLIP_VISION_L))
    if family == "wan":
        size = wan.AutoencoderSize()
        zeros = (0.0,) * size.latent_channels
        text = T5Encoder(UMT5Config(model_type="umt5", **UMT5_XXL))
        return text, wan.Autoencoder(size, mean=zeros, std=zeros), image
    return T5Encoder(T5Config(model_type="t5", **T5_XXL)), cogvideox.Autoencoder(), image


@torch.no_grad()
def measure(model: Model) -> dict[str, Any]:
    """Parameters and costs of a model."""
    with FAKE:
        transformer, adapter = Case("adapter", lambda _: None).model(model.size)
        text, autoencoder, image = (cast(part, BF16) for part in encoders(model.size.family))
        _, frames, channels, height, width = model.shapes["latents"]
        latents = torch.empty(BRANCHES, frames, channels, height, width, dtype=BF16)
        prompts = torch.empty(BRANCHES, model.size.text_length, model.size.text_dim, dtype=BF16)
        images = torch.empty(BRANCHES, *REFERENCE[1:], dtype=BF16)
        timestep = torch.zeros(BRANCHES, dtype=torch.long)
        pixels = torch.empty(1, channels, frames - model.size.patch_time + 1, height, width, dtype=BF16)
        return {
            "name": model.name,
            "video": [model.frames, model.height, model.width],
            "parameters": {
                "transformer": parameters(transformer, besides=adapter),
                "adapter": parameters(adapter),
                "text encoder": parameters(text),
                "image encoder": parameters(image),
                "autoencoder": parameters(autoencoder),
            },
            "step": cost(lambda: transformer(latents, timestep, prompts, adapter.references(images)), transformer),
            "decode": cost(lambda: autoencoder.decode(pixels, at_once=Defaults().decode_frames), autoencoder),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_out(parser, RESULT)
    out = target(parser, parser.parse_args().out, RESULT)
    write(out, {"branches": BRANCHES, "models": {name: measure(model) for name, model in MODELS.items()}})


if __name__ == "__main__":
    main()
