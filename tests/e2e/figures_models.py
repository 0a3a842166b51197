"""The tables of docs/base-models.md, generated from result files and counted on the meta device."""

import torch

from refilm.backbones import family_of
from refilm.backbones.cogvideox.sizes import cogvideox_2b, cogvideox_5b, cogvideox_15_5b
from refilm.backbones.wan.sizes import wan_1_3b, wan_14b
from refilm.geometry import AdapterSize, Geometry
from refilm.model import Adapter

from .results import result

MODELS = {
    "CogVideoX-2B": (cogvideox_2b(), "", "49 frames, 8 fps, 480 x 720", "T5 XXL, 226 tokens", "Apache 2.0"),
    "CogVideoX-5B": (cogvideox_5b(), "-cogvideox-5b", "49 frames, 8 fps, 480 x 720", "T5 XXL, 226 tokens", "CogVideoX"),
    "CogVideoX 1.5 5B": (
        cogvideox_15_5b(),
        "-cogvideox-1.5-5b",
        "81 frames, 16 fps, 768 x 1360",
        "T5 XXL, 226 tokens",
        "CogVideoX",
    ),
    "Wan 2.1 1.3B": (
        wan_1_3b(),
        "-wan-2.1-1.3b",
        "81 frames, 16 fps, 480 x 832",
        "UMT5 XXL, 512 tokens",
        "Apache 2.0",
    ),
    "Wan 2.1 14B": (wan_14b(), "-wan-2.1-14b", "81 frames, 16 fps, 480 x 832", "UMT5 XXL, 512 tokens", "Apache 2.0"),
}


def base_models() -> list[str]:
    return [_training(), _full(), *(line for name in MODELS for line in (_facts(name), _arithmetic(name)))]


def _full() -> str:
    """What full activation checkpointing leaves of the peak."""
    counted = [result(f"training_memory{file}")["steps"] for _, file, *_ in MODELS.values()]
    left = [
        steps["adapter, autocast, full"]["peak_gib"] / steps["adapter, autocast, selective"]["peak_gib"]
        for steps in counted
    ]
    return f"the peak of the activations falls to {min(left):.0%} to {max(left):.0%} of these figures".replace(
        "%", " %"
    )


def _facts(name: str) -> str:
    size, _, video, text, rights = MODELS[name]
    with torch.device("meta"):
        counts = [_parameters(module) for module in (family_of(size).create(size), Adapter(AdapterSize.of(size)))]
    return f"| {name} | {video} | {counts[0]:,} | {counts[1]:,} | {text} | {rights} |"


def _arithmetic(name: str) -> str:
    size, file, *_ = MODELS[name]
    counted = result(f"training_memory{file}")
    step, weights = counted["steps"]["adapter, autocast, selective"], _weights(size)
    _, frames, _, height, width = counted["latents"]
    return (
        f"| {name} | {size.grid(frames, height, width).tokens:,} | {counted['forward']['tflop']:,.0f} TFLOP "
        f"| {step['tflop']:,.0f} TFLOP | {step['peak_gib']:.1f} GiB | {weights / 2**30:.1f} GiB |"
    )


def _weights(size: Geometry) -> int:
    with torch.device("meta"):
        return 2 * _parameters(family_of(size).create(size))


def _parameters(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def _training() -> str:
    trained = result("flow_matching")
    minutes = [round(trained[stage]["seconds"] / 60) for stage in ("base", "adapter")]
    last = trained["adapter"]["validations"][-1]
    return (
        f"On one core the transformer took {minutes[0]} minutes and its adapter {minutes[1]}; at the end the loss on "
        f"held-out clips was {last['right']} with the right image, {last['wrong']} with that of another subject and "
        f"{last['none']} without one."
    )
