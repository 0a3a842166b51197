"""A base model and an adapter become a pipeline."""

from pathlib import Path

import torch

from refilm.arguments import checked
from refilm.checkpoints import Memory, load_adapter, load_base, read_card
from refilm.generation.pipeline import Pipeline


@checked
def load(
    source: str | Path = "pocket",
    *,
    adapter: str | Path | None = "default",
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    memory: Memory = "high",
) -> Pipeline:
    """Load a base model and an adapter.

    Args:
        source: `pocket`, the small model that ships; a Hub id, such as `THUDM/CogVideoX-2b`; or a folder, in diffusers'
            layout or the research code's (a SAT checkpoint with its autoencoder, and a T5).
        adapter: an adapter's folder; `default`: the one that comes with the base, if any; none: the bare model.
        device: `cpu`, `cuda`, ...; none: a GPU if there is one.
        dtype: `float32`, `bfloat16` or `float16`, as torch's or by name; none: float32 on a CPU, bfloat16 on a GPU.
        memory: `low`: the model's parts are loaded one after another, when needed, and freed; `high`: they stay.

    Raises:
        ValueError: there is no such model, or it cannot be read; says what and where.
    """
    base = load_base(source, device=device, dtype=dtype, memory=memory)
    folder = base.adapter if adapter == "default" else adapter
    if folder is None:
        return Pipeline(base)
    loaded = load_adapter(folder, dtype=base.dtype, base_fingerprint=base.fingerprint())
    card = read_card(folder)
    base.read_pictures_with(card.image_encoder, card.picture_fit, card.hidden_state)
    pipeline = Pipeline(base, loaded.to(base.device))
    pipeline.adapter_name = str(folder)
    return pipeline
