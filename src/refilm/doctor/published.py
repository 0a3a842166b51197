"""The published base models, and what generating one video with each needs.

The numbers are counted by `benchmarks/generation_memory.py`; a test compares them with its result.
"""

from dataclasses import dataclass

BRANCHES = 2
"""Branches of guidance, which a sampler step computes together."""


@dataclass(frozen=True)
class PublishedModel:
    """A published base model with an adapter, and its default video."""

    name: str
    source: str
    """Hub id."""
    transformer: int
    """Parameters."""
    adapter: int
    text_encoder: int
    image_encoder: int
    autoencoder: int
    step_tflop: float
    """Arithmetic of a sampler step, both branches of guidance, in TFLOP."""
    attention_tflop: float
    """The part of it in attention."""
    step_activations: int
    """Bytes at the peak of a step in bfloat16, without weights."""
    decode_tflop: float
    decode_activations: int
    """The same of the autoencoder."""


IMAGE_ENCODER = 303179776  # CLIP ViT-L/14
PUBLISHED = (
    PublishedModel(
        "CogVideoX-2B",
        "THUDM/CogVideoX-2b",
        transformer=1693783872,
        adapter=444566400,
        text_encoder=4762310656,
        image_encoder=IMAGE_ENCODER,
        autoencoder=215583907,
        step_tflop=257.83,
        attention_tflop=147.68,
        step_activations=1790004224,
        decode_tflop=309.36,
        decode_activations=9974534528,
    ),
    PublishedModel(
        "CogVideoX-5B",
        "THUDM/CogVideoX-5b",
        transformer=5570283072,
        adapter=1589111808,
        text_encoder=4762310656,
        image_encoder=IMAGE_ENCODER,
        autoencoder=215583907,
        step_tflop=725.52,
        attention_tflop=330.81,
        step_activations=4359706112,
        decode_tflop=309.36,
        decode_activations=9974534528,
    ),
    PublishedModel(
        "CogVideoX1.5-5B",
        "THUDM/CogVideoX1.5-5B",
        transformer=5570676352,
        adapter=1589111808,
        text_encoder=4762310656,
        image_encoder=IMAGE_ENCODER,
        autoencoder=215583907,
        step_tflop=3113.39,
        attention_tflop=2111.95,
        step_activations=11094812672,
        decode_tflop=1543.25,
        decode_activations=30349977728,
    ),
    PublishedModel(
        "Wan2.1-T2V-1.3B",
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        transformer=1418996800,
        adapter=284874240,
        text_encoder=5680910336,
        image_encoder=IMAGE_ENCODER,
        autoencoder=126892531,
        step_tflop=587.8,
        attention_tflop=404.92,
        step_activations=3850086400,
        decode_tflop=275.41,
        decode_activations=6364800000,
    ),
    PublishedModel(
        "Wan2.1-T2V-14B",
        "Wan-AI/Wan2.1-T2V-14B-Diffusers",
        transformer=14288491584,
        adapter=4200371200,
        text_encoder=5680910336,
        image_encoder=IMAGE_ENCODER,
        autoencoder=126892531,
        step_tflop=3647.51,
        attention_tflop=1799.64,
        step_activations=12792023040,
        decode_tflop=275.41,
        decode_activations=6364800000,
    ),
)
