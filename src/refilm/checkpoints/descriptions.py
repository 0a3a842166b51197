"""Description of a weights file or folder: format, sizes, parameters. Tensors are not loaded."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refilm.arguments import checked
from refilm.checkpoints.adapters import CARD, WEIGHTS, read_card
from refilm.checkpoints.diffusers_format import size_of
from refilm.checkpoints.foreign import foreign_kind
from refilm.checkpoints.sat import has_sat_keys, is_sat, open_sat
from refilm.checkpoints.sat_autoencoder import find_sat_autoencoder, is_sat_autoencoder, sat_autoencoder_fields
from refilm.checkpoints.sources import find_t5, located
from refilm.errors import UserError
from refilm.sizes import AdapterSize, TransformerSize
from refilm.weights.configs import KindConfig, read_config
from refilm.weights.files import weight_files
from refilm.weights.pickles import SUFFIXES
from refilm.weights.tensors import TensorFiles

_PARTS = ("transformer", "text_encoder", "image_encoder", "vae", "adapter")
_STEMS = (("diffusion_pytorch_model", "diffusion_pytorch_model"), ("model", "pytorch_model"))


@dataclass(frozen=True)
class Description:
    """The description of a file or folder."""

    path: Path
    kind: str
    """Its format, such as "adapter" or "CogVideoX transformer, diffusers' layout"."""
    size: TransformerSize | AdapterSize | None
    """Sizes of a transformer or an adapter."""
    parameters: int
    dtypes: dict[str, int]
    """Number of parameters per dtype."""
    fingerprint: str | None = None
    """Fingerprint of the base model, if recorded."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Further facts from its files."""
    parts: tuple["Description", ...] = ()
    """Descriptions of its parts."""


@checked
def describe(source: str | Path) -> Description:
    """Describe a file or folder of weights.

    Args:
        source: `pocket`, a Hub id, the folder of a base model, of a part of it or of an adapter, a SAT checkpoint, or a
            weights file.

    Raises:
        UserError: the source is none of these, or is damaged; names the file and the key.
    """
    path = located(source)
    if (path / CARD).is_file():
        return _adapter(path)
    if (path / "model_index.json").is_file() or (path / "transformer" / "config.json").is_file():
        parts = tuple(describe(path / name) for name in _PARTS if (path / name).is_dir())
        return _whole(path, "base model, diffusers' layout", parts)
    if path.is_dir() and is_sat(path):
        return _sat_folder(path)
    if path.is_dir() and (foreign := foreign_kind(path)) is not None:
        files = [file for file in sorted(path.glob("*.safetensors")) if file.is_file()]
        return Description(path, foreign, None, *_counts(files))
    if path.is_dir() and (path / "config.json").is_file():
        return _model(path)
    if path.suffix in (".safetensors", *SUFFIXES) and path.is_file():
        return _file(path)
    raise UserError(f"{path}: is neither a model's folder nor a weights file (.safetensors, {', '.join(SUFFIXES)})")


def _adapter(path: Path) -> Description:
    card = read_card(path)
    facts = card.model_dump(include={"image_encoder", "image_fit", "hidden_state"}) | card.facts
    return Description(path, "adapter", card.size, *_counts([path / WEIGHTS]), card.base_fingerprint, facts)


def _model(path: Path) -> Description:
    kind = read_config(path / "config.json", KindConfig).kind
    stem = next((stem for stem in _STEMS if any(path.glob(f"{stem[0]}*")) or any(path.glob(f"{stem[1]}*"))), _STEMS[0])
    counts = _counts(weight_files(path, *stem))
    if kind != "CogVideoXTransformer3DModel":
        return Description(path, kind, None, *counts)
    return Description(path, "CogVideoX transformer, diffusers' layout", size_of(path / "config.json"), *counts)


def _sat_folder(path: Path) -> Description:
    parts, autoencoder, text = [_sat(path)], find_sat_autoencoder(path), find_t5(path)
    if autoencoder is not None:
        parts.append(_file(autoencoder))
    if text is not None:
        parts.append(_model(text[0]))
    return parts[0] if len(parts) == 1 else _whole(path, "base model, SAT layout", tuple(parts))


def _sat(path: Path) -> Description:
    file = open_sat(path)
    transformer, adapter = file.sizes, file.adapter_size
    facts: dict[str, Any] = {"ignored keys": list(file.ignored)}
    if adapter is not None:
        facts["adapter"] = adapter
        facts["image projection"] = file.projection
    kind = "adapter alone" if transformer is None else "transformer" if adapter is None else "transformer and adapter"
    size = adapter if transformer is None else transformer.size
    tensors = [part.tensor(key) for part in (file.base, file.cross_attention) for key in part]
    return Description(file.path, f"SAT checkpoint: {kind}", size, *_count(tensors), facts=facts)


def _file(path: Path) -> Description:
    files = TensorFiles([path])
    if is_sat_autoencoder(files):
        facts = sat_autoencoder_fields(files, scaling_factor=1.0).given()
        del facts["scaling_factor"]  # not stored in the file
        return Description(path, "SAT autoencoder", None, *_counts([path]), facts=facts)
    if has_sat_keys(files):
        return _sat(path)
    kind = foreign_kind(path) or "weights by name"
    return Description(path, kind, None, *_counts([path]), facts={"first key": next(iter(files), None)})


def _whole(path: Path, kind: str, parts: tuple[Description, ...]) -> Description:
    dtypes = sum((Counter(part.dtypes) for part in parts), Counter())
    size = next((part.size for part in parts if isinstance(part.size, TransformerSize)), None)
    return Description(path, kind, size, sum(part.parameters for part in parts), dict(dtypes), parts=parts)


def _counts(paths: list[Path]) -> tuple[int, dict[str, int]]:
    files = TensorFiles(paths)
    return _count(files.tensor(key) for key in files)


def _count(tensors: Iterable[Any]) -> tuple[int, dict[str, int]]:
    dtypes: Counter[str] = Counter()
    for tensor in tensors:
        dtypes[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
    return dtypes.total(), dict(dtypes)
