"""Fingerprints: which base model an adapter was trained on, which encoders made a cache.

A fingerprint is made of names, shapes and signs of weights. No rounding changes a sign, so that a model has one
fingerprint in float32, float16 and bfloat16; training, be it a short one, changes many. It tells models apart and is no
checksum: a value that is not sampled, or keeps its sign, can change without it.
"""

import hashlib

import torch
from torch import Tensor, nn

_SAMPLES = 4096  # of each tensor: two million values of CogVideoX-2B


def base_weights(module: nn.Module) -> dict[str, Tensor]:
    """A model's own parameters by name, without those of an attached adapter and of low-rank changes."""
    return {
        name.replace(".base_layer.", "."): parameter.detach()
        for name, parameter in module.named_parameters()
        if not name.startswith("reference_projection.") and ".reference." not in name and ".lora_" not in name
    }


def fingerprint(module: nn.Module) -> str:
    """Sixteen hexadecimal digits that tell models apart: sha256 of every weight's name, shape and sampled signs.

    From each tensor up to 4096 values are taken, evenly spaced from the first on. An attached adapter does not count,
    nor do settings without weights (interpolation, epsilon). Take it before quantizing, which makes zeros of small
    weights.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(base_weights(module).items()):
        digest.update(f"{name} {list(weight.shape)}\n".encode())
        values = weight.flatten()
        digest.update(torch.signbit(values[:: -(-len(values) // _SAMPLES)]).cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
