"""A base model gets its adapter: its own, or that of a folder or of the Hub; checked to be made for it."""

from pathlib import Path

from refilm.arguments import checked
from refilm.checkpoints.adapters import adapter_folder, load_adapter, read_card
from refilm.checkpoints.bases import Base
from refilm.checkpoints.sources import CLIP
from refilm.model import Adapter


@checked
def attach_adapter(
    base: Base, adapter: str | Path | None, *, image_encoder: str | Path | None = None
) -> Adapter | None:
    """Load an adapter, attach it to a base model, and let that read images as the adapter needs them.

    Args:
        base: the base model.
        adapter: an adapter's folder or Hub id; `default`: the one that comes with the base, if any; none: none.
        image_encoder: a folder of the image encoder in the place of the one that the adapter names.

    Returns:
        The adapter; none if there is none.

    Raises:
        ValueError: it is missing or damaged, or was made for another base model; says what and where.
    """
    source = base.adapter if adapter == "default" else adapter
    if source is not None:
        folder = adapter_folder(source)
        loaded = load_adapter(folder, dtype=base.dtype, base_fingerprint=base.fingerprint(), base_name=base.name)
        card = read_card(folder)
        encoder, fit, state = card.image_encoder, card.image_fit, card.hidden_state
    elif adapter == "default" and (own := base.source.adapter(base.dtype)) is not None:
        loaded, encoder, fit, state = own, CLIP, "squash-bilinear", "last"  # the research code's way with images
    else:
        return None
    base.read_images_with(str(image_encoder) if image_encoder else encoder, fit, state)
    base.attach(loaded.to(base.device))
    return loaded
