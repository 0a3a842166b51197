"""A base model and an adapter become a pipeline."""

from pathlib import Path

import torch

from refilm.arguments import checked
from refilm.checkpoints import Memory, attach_adapter, load_base
from refilm.generation.pipeline import Pipeline


@checked
def load(
    source: str | Path = "pocket",
    *,
    adapter: str | Path | None = "default",
    image_encoder: str | Path | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    memory: Memory = "high",
) -> Pipeline:
    """Load a base model and an adapter.

    Args:
        source: `pocket`, the small model that ships; a Hub id, such as `THUDM/CogVideoX-2b`; or a folder, in diffusers'
            layout or the research code's (a SAT checkpoint with its autoencoder, and a T5).
        adapter: an adapter's folder or Hub id; `default`: the one that comes with the base, if any; none: the bare
            model.
        image_encoder: a folder of the image encoder that the adapter names, where that cannot be fetched.
        device: `cpu`, `cuda`, ...; none: a GPU if there is one.
        dtype: `float32`, `bfloat16` or `float16`, as torch's or by name; none: float32 on a CPU, bfloat16 on a GPU.
        memory: `low`: the model's parts are loaded one after another, when needed, and freed; `high`: they stay.

    Raises:
        ValueError: there is no such model, or it cannot be read; says what and where.
    """
    base = load_base(source, device=device, dtype=dtype, memory=memory)
    pipeline = Pipeline(base, attach_adapter(base, adapter, image_encoder=image_encoder))
    if pipeline.adapter is not None:
        pipeline.adapter_name = str(base.adapter or base.name) if adapter == "default" else str(adapter)
    return pipeline
