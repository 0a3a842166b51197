"""What CogVideoX-2B needs on one GPU, counted without its weights: download, disk, optimizer state, arithmetic.

    python benchmarks/cogvideox.py

Every model is built on device `meta` at its published size, so that its parameters and FLOPs are counted, but nothing
is computed. The bytes of a cache are those of files that refilm writes for random encodings of the right shapes.
`training_memory.py` counts the FLOPs and the memory of a training step. Writes benchmarks/results/cogvideox.json, or
`--out`.

`gpus` has the peak rates of dense bfloat16 products from NVIDIA's data sheets; `utilization` is an assumption.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gpu.models import CLIP_VISION_L, T5_XXL
from record import RESULTS, add_out, target, write
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode
from training_gpu import CLIPS, write_cache
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, CLIPVisionModel, T5Config, T5EncoderModel

from refilm.backbones.cogvideox import sizes
from refilm.backbones.cogvideox.autoencoder import Autoencoder
from refilm.backbones.cogvideox.transformer import Transformer
from refilm.geometry import AdapterSize
from refilm.model import Adapter, Attention, eager
from refilm.training.engine.parameters import state_bytes, weight_bytes
from refilm.training.settings import OptimizerSettings

RESULT = RESULTS / "cogvideox.json"
FRAMES, HEIGHT, WIDTH = 49, 480, 720
LATENTS = (13, 60, 90)
CLIP_TEXT = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
CLIP_L = CLIPConfig(text_config=CLIP_TEXT, vision_config=CLIP_VISION_L, projection_dim=768)
GPUS = {"NVIDIA H100 SXM": 989, "NVIDIA A100": 312, "NVIDIA RTX 4090": 165}  # TFLOP/s
UTILIZATION = 0.4
OPTIMIZERS = {
    "adamw": OptimizerSettings(kind="adamw"),
    "muon": OptimizerSettings(kind="muon"),
    "adamw8bit": OptimizerSettings(kind="adamw8bit", ema=0.0),
}


def parameters(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def flops(run: Any) -> float:
    """TFLOPs of a call."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    return round(counter.get_total_flops() / 1e12, 2)


def downloads() -> dict[str, dict[str, int]]:
    """Parameters and bytes of each file of weights, at the precision in which it is published."""
    with torch.device("meta"):
        models = {
            "transformer": (Transformer(sizes.cogvideox_2b()), 2),
            "text encoder": (T5EncoderModel(T5Config(**T5_XXL)), 2),
            "autoencoder": (Autoencoder(), 2),
            "image encoder": (CLIPModel(CLIP_L), 4),  # the file has both towers of CLIP, in float32
        }
    return {
        name: {"parameters": (count := parameters(model)), "bytes_per_parameter": width, "bytes": count * width}
        for name, (model, width) in models.items()
    }


def cache_bytes() -> dict[str, float]:
    """Bytes of one clip's latents, one caption and one image in a cache."""
    with tempfile.TemporaryDirectory() as folder:
        write_cache(Path(folder), sizes.cogvideox_2b(), LATENTS)
        return {
            kind: sum(path.stat().st_size for path in Path(folder).glob(f"{kind}-*.safetensors")) / CLIPS
            for kind in ("latents", "text", "references")
        }


def adapter_bytes() -> dict[str, Any]:
    """The adapter's file, and the memory of its weights, gradients and optimizer state."""
    with torch.device("meta"):
        adapter = nn.ModuleDict({"adapter": Adapter(AdapterSize.of(sizes.cogvideox_2b(), query_norm=True))})
    named = list(adapter.named_parameters())
    weights = sum(weight_bytes(weight) for _, weight in named)
    states = {
        kind: sum(state_bytes(name, weight, settings) for name, weight in named)
        for kind, settings in OPTIMIZERS.items()
    }
    return {
        "parameters": parameters(adapter),
        "file": weights // 2,  # saved in float16
        "trained": {kind: 2 * weights + state for kind, state in states.items()},  # with gradients
        "checkpoint": {kind: weights + state for kind, state in states.items()},
    }


def encoding_tflop() -> dict[str, float]:
    """TFLOPs to encode one clip, one caption and one image."""
    with torch.device("meta"):
        video = torch.empty(1, 3, FRAMES, HEIGHT, WIDTH)
        autoencoder, text = Autoencoder(), T5EncoderModel(T5Config(**T5_XXL))
        image = CLIPVisionModel(CLIPVisionConfig(**CLIP_VISION_L))
        tokens = torch.zeros(1, sizes.cogvideox_2b().text_length, dtype=torch.long)
        pixels = torch.empty(1, 3, 224, 224)
        return {
            "latents": flops(lambda: autoencoder.encode(video)),
            "text": flops(lambda: text(tokens)),
            "references": flops(lambda: image(pixels)),
            "decode": flops(lambda: autoencoder.decode(torch.empty(1, 16, *LATENTS), at_once=2)),
        }


def forward_tflop() -> dict[str, float]:
    """TFLOPs of the transformer with its adapter, for one still and for a whole clip."""
    size = sizes.cogvideox_2b()
    with FakeTensorMode(allow_non_fake_inputs=True):  # reference attention does not run on `meta`
        transformer, adapter = Transformer(size), Adapter(AdapterSize.of(size))
        adapter.attach(transformer)
        for module in transformer.modules():
            if isinstance(module, Attention):
                module.kernel = eager  # the arithmetic of the fused kernel, which on a CPU is not counted
        text, reference = torch.empty(1, size.text_length, size.text_dim), torch.empty(1, 257, 1024)

        def run(frames: int) -> None:
            latents = torch.empty(1, frames, size.channels, *LATENTS[1:])
            transformer(latents, torch.zeros(1), text, adapter.references(reference))

        return {name: flops(partial(run, frames)) for name, frames in {"still": 1, "clip": LATENTS[0]}.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_out(parser, RESULT)
    out = target(parser, parser.parse_args().out, RESULT)
    write(
        out,
        {
            "downloads": downloads(),
            "cache_bytes": cache_bytes(),
            "adapter": adapter_bytes(),
            "encoding_tflop": encoding_tflop(),
            "forward_tflop": forward_tflop(),
            "gpus": GPUS,
            "utilization": UTILIZATION,
        },
    )


if __name__ == "__main__":
    main()
