"""Conversion of weights between native checkpoints (SAT for CogVideoX), diffusers' layout and adapters.

Tensors are copied bit-exactly unless another dtype is given. Output is written atomically.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from refilm.arguments import checked
from refilm.backbones import NativeFile, NativeFormat, family, family_of, native_format, native_formats
from refilm.checkpoints.adapters import CARD, AdapterCard, load_adapter, read_card, save_adapter
from refilm.checkpoints.defaults import Defaults, create_base
from refilm.checkpoints.denoisers import load_denoiser
from refilm.checkpoints.foreign import refuse_foreign
from refilm.checkpoints.sources import SAT_PREPROCESSING, located
from refilm.checkpoints.transformers import load_transformer, save_transformer
from refilm.errors import UserError
from refilm.files import atomic_folder, require_empty
from refilm.previews import PREVIEW
from refilm.weights.fingerprints import fingerprint
from refilm.weights.pickles import SUFFIXES
from refilm.weights.tensors import DTYPES, TensorFiles

_TOKENIZER = ("spiece.model", "tokenizer*.json", "special_tokens_map.json", "added_tokens.json")
_FOLDERS = ("transformer", "vae", "text_encoder", "tokenizer", "adapter", "scheduler")
_PARTS = (*_FOLDERS, "model_index.json", "refilm.json", PREVIEW)


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion."""

    what: str
    """Source and target format."""
    written: tuple[Path, ...]
    """Files and folders that were written."""
    notes: tuple[str, ...]
    """Notes about omitted weights and unknown properties."""


@checked
def convert(
    source: str | Path,
    target: str | Path,
    *,
    only: Literal["adapter"] | None = None,
    base: str | Path | None = None,
    dtype: str | None = None,
) -> Conversion:
    """Convert weights. The source determines the target format.

    - A SAT checkpoint becomes a base model's folder in diffusers' layout, with its adapter in `adapter/`. A SAT
      checkpoint with only an adapter becomes an adapter's folder.
    - The autoencoder of SAT, `3d-vae.pt`, becomes an autoencoder's folder in diffusers' layout.
    - An adapter's folder, or a transformer in diffusers' layout, becomes a SAT checkpoint.

    Args:
        source: a file, a folder, a Hub id, or `pocket`.
        target: an empty or new folder; for a SAT checkpoint also a new `.safetensors` or `.pt` file.
        only: `adapter` extracts only the adapter from a SAT checkpoint.
        base: the base model for a checkpoint with only an adapter; any source that `load_denoiser` accepts.
        dtype: dtype of the written weights, `float32`, `bfloat16` or `float16`. Default: as stored.

    Raises:
        UserError: the source is none of these, or is damaged; names the file and the key. Nothing is written then.
    """
    if dtype is not None and dtype not in DTYPES:
        raise UserError(f"unknown dtype {dtype!r}: choose {', '.join(DTYPES)}")
    source, target = located(source), Path(target)
    if target.exists() and source.resolve() == target.resolve():
        raise UserError(f"{target}: is the source of the conversion; choose another target")
    if target.is_file():
        raise UserError(f"{target}: already exists; choose a new name")
    require_empty(target)
    kind = None if dtype is None else DTYPES[dtype]
    if (source / CARD).is_file():
        return _from_adapter(source, target, kind)
    if source.is_file() and source.suffix not in (".safetensors", *SUFFIXES):
        raise UserError(f"{source}: is neither a folder nor a weights file (.safetensors, {', '.join(SUFFIXES)})")
    if source.is_file():
        files = TensorFiles([source])
        for native in native_formats():
            if native.is_autoencoder(files):
                return _autoencoder(source, native, target, kind)
    native = native_format(source)
    if native is not None:
        return _from_native(source, native, target, only=only, base=base, dtype=kind)
    if source.is_dir():
        return _from_transformer(source, target, kind)
    refuse_foreign(source)
    raise UserError(f"{source}: unknown weights format (its first key is {next(iter(TensorFiles([source])))})")


def _from_native(
    source: Path,
    native: NativeFormat,
    target: Path,
    *,
    only: str | None,
    base: str | Path | None,
    dtype: torch.dtype | None,
) -> Conversion:
    model = None if base is None else load_denoiser(base, adapter=None).transformer
    file = native.open_file(source, size=None if model is None else model.size)
    notes = file.notes()
    if file.size is None or only == "adapter":
        if file.adapter_size is None:
            raise UserError(f"{file.path}: contains no adapter (none of its keys has cross_attention)")
        model = model if file.size is None else file.transformer()
        base_fingerprint = None if model is None else fingerprint(model)
        if base_fingerprint is None:
            notes.append("the base model is unknown: the adapter will be accepted by any base model of its size")
        notes += _write_adapter(file, target, base_fingerprint=base_fingerprint, dtype=dtype)
        return Conversion(f"{native.NAME} checkpoint -> adapter", (target,), tuple(notes))
    with atomic_folder(target, *_PARTS) as folder:
        notes += _write_base(file, native, source, folder, dtype)
        written = tuple(target / path.name for path in sorted(folder.iterdir()))
    return Conversion(f"{native.NAME} checkpoint -> base model in diffusers' layout", written, tuple(notes))


def _write_base(
    file: NativeFile, native: NativeFormat, source: Path, folder: Path, dtype: torch.dtype | None
) -> list[str]:
    assert file.size is not None
    defaults, notes = Defaults(**file.defaults()), []  # pyright: ignore[reportArgumentType]
    create_base(folder, defaults, file.size)
    transformer = file.transformer()
    save_transformer(transformer, folder / "transformer", dtype=dtype, frames=defaults.frames)
    if file.adapter_size is not None:
        notes += _write_adapter(file, folder / "adapter", base_fingerprint=fingerprint(transformer), dtype=dtype)
    place = source if source.is_dir() else source.parent
    autoencoder, text = native.find_autoencoder(place), native.find_text_encoder(place)
    if autoencoder is not None:
        model, _ = native.autoencoder(autoencoder, file.size, dtype=dtype)
        native.save_autoencoder(model, folder / "vae")
    else:
        notes.append("no autoencoder was found next to it: copy the published vae/ into the folder")
    if text is not None:
        _copy_text_encoder(*text, folder)
    else:
        notes.append("no T5 was found next to it: copy the published text_encoder/ and tokenizer/ into the folder")
    if (place / PREVIEW).is_file():
        shutil.copyfile(place / PREVIEW, folder / PREVIEW)
    return notes


def _write_adapter(
    file: NativeFile, target: Path, *, base_fingerprint: str | None, dtype: torch.dtype | None
) -> list[str]:
    """Write the adapter with the image preprocessing of the original; return notes."""
    adapter, preprocessing, notes = file.adapter(), SAT_PREPROCESSING, []
    if file.projection is None:
        preprocessing = preprocessing.model_copy(update={"image_encoder": None})
        width = adapter.size.width
        adapter.projection = nn.Linear(width, width, dtype=next(adapter.parameters()).dtype)
        nn.init.eye_(adapter.projection.weight)
        nn.init.zeros_(adapter.projection.bias)
        notes.append(f"no image projection in the file: the adapter needs projected tokens with {width} channels")
    facts = {"converted_from": file.path.name}
    save_adapter(
        adapter, target, base_fingerprint=base_fingerprint, facts=facts, preprocessing=preprocessing, dtype=dtype
    )
    return notes


def _copy_text_encoder(model: Path, tokenizer: Path, folder: Path) -> None:
    for source, target, patterns in (
        (model, folder / "text_encoder", ("config.json", "*.safetensors", "*.safetensors.index.json", "*.bin*")),
        (tokenizer, folder / "tokenizer", _TOKENIZER),
    ):
        target.mkdir()
        for path in (path for pattern in patterns for path in source.glob(pattern)):
            shutil.copyfile(path, target / path.name)


def _autoencoder(source: Path, native: NativeFormat, target: Path, dtype: torch.dtype | None) -> Conversion:
    model, note = native.autoencoder(source, None, dtype=dtype)
    native.save_autoencoder(model, target)
    what = f"{native.NAME} autoencoder -> autoencoder in diffusers' layout"
    return Conversion(what, (target,), (note,))


def _from_adapter(source: Path, target: Path, dtype: torch.dtype | None) -> Conversion:
    adapter = load_adapter(source)
    native = _native_of(source, adapter.size.family)
    native.save(target, None, adapter, dtype=dtype)
    notes = tuple(_preprocessing_notes(read_card(source)))
    return Conversion(f"adapter -> {native.NAME} checkpoint of the adapter alone", (target,), notes)


def _native_of(source: Path, name: str) -> NativeFormat:
    """The format that weights of a family are converted to from diffusers' layout."""
    known = family(name)
    if known.native is None:
        raise UserError(f"{source}: weights of {known.NAME} have no format other than diffusers' layout to convert to")
    return known.native


def _preprocessing_notes(card: AdapterCard) -> Iterator[str]:
    """Notes where the image preprocessing of SAT differs from that of the adapter's training."""
    if card.image_fit != SAT_PREPROCESSING.image_fit:
        yield "the adapter was trained on padded images; SAT squashes them"
    if card.hidden_state != SAT_PREPROCESSING.hidden_state:
        yield "the adapter was trained on the penultimate hidden state; SAT uses the last"


def _from_transformer(source: Path, target: Path, dtype: torch.dtype | None) -> Conversion:
    folder = source / "transformer" if (source / "transformer").is_dir() else source
    if not (folder / "config.json").is_file():
        refuse_foreign(folder)
    transformer, adapter = load_transformer(folder), None
    native = _native_of(source, transformer.family)
    notes = native.differences(transformer)
    if (source / "adapter" / CARD).is_file():
        card = read_card(source / "adapter")
        if card.size.query_norm:
            notes.append("its adapter was not converted: it normalizes its queries, which SAT does not support")
        else:
            adapter = load_adapter(source / "adapter", base_fingerprint=fingerprint(transformer))
            notes += _preprocessing_notes(card)
    frames = family_of(transformer).defaults_of(folder / "config.json")["frames"]
    native.save(target, transformer, adapter, dtype=dtype, frames=frames)
    what = f"transformer in diffusers' layout -> {native.NAME} checkpoint"
    return Conversion(what, (target,), tuple(notes))
