"""Loading of a base model and an adapter as a pipeline."""

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
        source: `pocket`, the small model included in refilm; a Hub id, such as `THUDM/CogVideoX-2b`; or a folder in
            diffusers' layout or a SAT folder (a SAT checkpoint with its autoencoder and a T5).
        adapter: an adapter's folder or Hub id; `default` for the adapter of the base model, if any; None for the bare
            model.
        image_encoder: a folder with the image encoder that the adapter requires, if it cannot be downloaded.
        device: `cpu`, `cuda`, ... Default: the GPU if there is one.
        dtype: `float32`, `bfloat16` or `float16`, as a torch dtype or by name. Default: float32 on a CPU, bfloat16 on
            a GPU.
        memory: `low` loads the model's parts one after another when needed and frees them; `high` keeps all loaded.

    Raises:
        UserError: the model does not exist or cannot be read; names the file.
    """
    base = load_base(source, device=device, dtype=dtype, memory=memory)
    pipeline = Pipeline(base, attach_adapter(base, adapter, image_encoder=image_encoder))
    if pipeline.adapter is not None:
        pipeline.adapter_name = str(adapter)
    return pipeline
