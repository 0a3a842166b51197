"""Loading an adapter from a base model, a folder or the Hub, and attaching it to a base model."""

from pathlib import Path

from refilm.arguments import checked
from refilm.checkpoints.adapters import adapter_folder, load_adapter, read_card, require_family
from refilm.checkpoints.bases import Base
from refilm.checkpoints.sources import SAT_PREPROCESSING
from refilm.model import Adapter
from refilm.weights.tensors import unread


@checked
def attach_adapter(
    base: Base, adapter: str | Path | None, *, image_encoder: str | Path | None = None
) -> Adapter | None:
    """Load an adapter, attach it to a base model, and configure the image encoder for it.

    Args:
        base: the base model.
        adapter: an adapter's folder or Hub id; `default` for the adapter of the base model, if any; None for none.
        image_encoder: a folder with an image encoder that replaces the one in the adapter's metadata.

    Returns:
        The adapter, or None.

    Raises:
        UserError: the adapter is missing, damaged, or was trained on another base model; names the file and both
            models.
    """
    source = base.adapter if adapter == "default" else adapter
    if source is not None:
        folder = adapter_folder(source)
        require_family(folder, base.size, name=base.name)
        loaded = load_adapter(folder, dtype=base.dtype, base_fingerprint=base.fingerprint(), base_name=base.name)
    elif adapter == "default" and (own := base.source.adapter(base.dtype)) is not None:
        loaded = own
    else:
        return None
    read_images_for(base, adapter, image_encoder=image_encoder)
    base.attach(loaded.to(base.device))
    return loaded


@checked
def read_images_for(base: Base, adapter: str | Path | None, *, image_encoder: str | Path | None = None) -> None:
    """Let a base model read images as an adapter does, without loading the weights of either.

    Arguments and errors as in `attach_adapter`; without an adapter nothing changes.
    """
    source = base.adapter if adapter == "default" else adapter
    if source is not None:
        require_family(adapter_folder(source), base.size, name=base.name)
        preprocessing = read_card(adapter_folder(source)).preprocessing
    else:
        with unread():
            own = base.source.adapter(base.dtype) if adapter == "default" else None
        if own is None:
            return
        preprocessing = SAT_PREPROCESSING
    other = {"image_encoder": str(image_encoder)} if image_encoder else {}
    base.read_images_with(preprocessing.model_copy(update=other))
