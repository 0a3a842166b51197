"""Description of a weights file or folder: format, sizes, parameters. Tensors are not loaded."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refilm.arguments import checked
from refilm.backbones import NativeFormat, Source, families, native_format, native_formats
from refilm.checkpoints.adapters import CARD, WEIGHTS, read_card
from refilm.checkpoints.foreign import foreign_kind
from refilm.checkpoints.sources import DiffusersSource, located
from refilm.errors import UserError
from refilm.geometry import AdapterSize, Geometry
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
    size: Geometry | AdapterSize | None
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
        if not parts:
            raise UserError(f"{path}: contains no part of a base model ({', '.join(_PARTS)}); download it again")
        has_sizes = all((path / name / "config.json").is_file() for name in ("transformer", "vae"))
        facts = _tokens(DiffusersSource(path)) if has_sizes else {}
        return _whole(path, "base model, diffusers' layout", parts, facts)
    if path.is_dir() and (native := native_format(path)) is not None:
        return _native_folder(path, native)
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
    known = next((known for known in families() if kind == known.TRANSFORMER), None)
    if known is None:
        return Description(path, kind, None, *counts)
    size = known.size_of(path / "config.json")
    return Description(path, f"{known.NAME} transformer, diffusers' layout", size, *counts)


def _native_folder(path: Path, native: NativeFormat) -> Description:
    parts = [_native(path, native)]
    autoencoder, text = native.find_autoencoder(path), native.find_text_encoder(path)
    if autoencoder is not None:
        parts.append(_file(autoencoder))
    if text is not None:
        parts.append(_model(text[0]))
    if len(parts) == 1:
        return parts[0]
    has_sizes = autoencoder is not None and isinstance(parts[0].size, Geometry)
    facts = _tokens(native.source(path)) if has_sizes else {}
    return _whole(path, f"base model, {native.NAME} layout", tuple(parts), facts)


def _native(path: Path, native: NativeFormat) -> Description:
    file = native.open_file(path)
    transformer, adapter = file.size, file.adapter_size
    facts: dict[str, Any] = {"ignored keys": list(file.ignored)}
    if adapter is not None:
        facts["adapter"] = adapter
        facts["image projection"] = file.projection
    kind = "adapter alone" if transformer is None else "transformer" if adapter is None else "transformer and adapter"
    size = transformer or adapter
    return Description(file.path, f"{native.NAME} checkpoint: {kind}", size, *_count(file.tensors()), facts=facts)


def _file(path: Path) -> Description:
    files = TensorFiles([path])
    for native in native_formats():
        if native.is_autoencoder(files):
            facts = native.describe_autoencoder(files)
            return Description(path, f"{native.NAME} autoencoder", None, *_counts([path]), facts=facts)
        if native.has_keys(files):
            return _native(path, native)
    kind = foreign_kind(path) or "weights by name"
    return Description(path, kind, None, *_counts([path]), facts={"first key": next(iter(files), None)})


def _tokens(source: Source) -> dict[str, str]:
    """What a video token covers: the smallest part that a mask selects, and the group in which frames count."""
    compression = source.compression()
    side, frames = compression.space * compression.patch, compression.token_frames
    return {"video token": f"{side} x {side} pixels of {frames} frames; the first token covers the first frame alone"}


def _whole(path: Path, kind: str, parts: tuple[Description, ...], facts: dict[str, str]) -> Description:
    dtypes = sum((Counter(part.dtypes) for part in parts), Counter())
    size = next((part.size for part in parts if isinstance(part.size, Geometry)), None)
    return Description(path, kind, size, sum(part.parameters for part in parts), dict(dtypes), facts=facts, parts=parts)


def _counts(paths: list[Path]) -> tuple[int, dict[str, int]]:
    files = TensorFiles(paths)
    return _count(files.tensor(key) for key in files)


def _count(tensors: Iterable[Any]) -> tuple[int, dict[str, int]]:
    dtypes: Counter[str] = Counter()
    for tensor in tensors:
        dtypes[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
    return dtypes.total(), dict(dtypes)
