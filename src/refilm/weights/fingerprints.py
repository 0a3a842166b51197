"""Fingerprints that identify the base model of an adapter and the encoders of a cache.

A fingerprint is a hash of names, shapes and signs of weights. Rounding does not change signs, so a model has the same
fingerprint in float32, float16 and bfloat16; even short training changes many signs. It distinguishes models but is not
a checksum: a value that is not sampled, or keeps its sign, can change without changing the fingerprint.
"""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

_SAMPLES = 4096  # per tensor: two million values in CogVideoX-2B


def base_weights(module: nn.Module) -> dict[str, Tensor]:
    """A model's own parameters by name, without those of an attached adapter and LoRA."""
    return {
        name.replace(".base_layer.", "."): parameter.detach()
        for name, parameter in module.named_parameters()
        if ".reference." not in name and ".lora_" not in name
    }


def canonical(name: str, renamed: Mapping[str, str]) -> str:
    """A weight's name in fingerprints: `renamed` maps the start of a name to its start when fingerprints began."""
    start = next((start for start in renamed if name.startswith(start)), "")
    return renamed.get(start, "") + name.removeprefix(start)


def fingerprint(module: nn.Module) -> str:
    """The fingerprint of a model, 16 hexadecimal digits: sha256 of every weight's canonical name, shape and sampled
    signs.

    Up to 4096 evenly spaced values per tensor are sampled. An attached adapter and settings without weights
    (interpolation, epsilon) are not included. Compute it before quantization, which turns small weights into zeros.
    """
    renamed = getattr(module, "CANONICAL", {})
    return fingerprint_of({canonical(name, renamed): weight for name, weight in base_weights(module).items()})


def fingerprint_of(weights: Mapping[str, Tensor]) -> str:
    """The fingerprint of named weights."""
    digest = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        digest.update(f"{name} {list(weight.shape)}\n".encode())
        values = weight.flatten()
        digest.update(torch.signbit(values[:: -(-len(values) // _SAMPLES)]).cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
