"""Weights from one format to another: the research code's to diffusers' layout and to adapters, and back.

Every tensor is carried over bit by bit, unless another dtype is asked for. What is written appears whole or not at all.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from refilm.arguments import checked
from refilm.checkpoints.adapters import CARD, AdapterCard, load_adapter, read_card, save_adapter
from refilm.checkpoints.defaults import Defaults, create_base
from refilm.checkpoints.denoisers import load_denoiser
from refilm.checkpoints.diffusers_format import frames_of, load_transformer, save_transformer
from refilm.checkpoints.foreign import refuse_foreign
from refilm.checkpoints.sat import SatFile, has_sat_keys, is_sat, open_sat, save_sat
from refilm.checkpoints.sat_autoencoder import SCALES, find_sat_autoencoder, is_sat_autoencoder, load_sat_autoencoder
from refilm.checkpoints.sources import CLIP, SNR_SHIFTS, find_t5, located
from refilm.files import atomic_folder, require_empty
from refilm.sizes import Compression
from refilm.weights.fingerprints import fingerprint
from refilm.weights.pickles import SUFFIXES
from refilm.weights.tensors import DTYPES, TensorFiles, saving

_TOKENIZER = ("spiece.model", "tokenizer*.json", "special_tokens_map.json", "added_tokens.json")
_PARTS = ("transformer", "vae", "text_encoder", "tokenizer", "adapter", "scheduler", "model_index.json", "refilm.json")


@dataclass(frozen=True)
class Conversion:
    """What a conversion did."""

    what: str
    """From what to what."""
    written: tuple[Path, ...]
    """Files and folders that there are now."""
    notes: tuple[str, ...]
    """What was left out, and what nobody could know, a sentence each."""


@checked
def convert(
    source: str | Path,
    target: str | Path,
    *,
    only: Literal["adapter"] | None = None,
    base: str | Path | None = None,
    dtype: str | None = None,
) -> Conversion:
    """Convert weights; from what to what follows from the source.

    - A SAT checkpoint becomes a base model's folder in diffusers' layout, its adapter in it as `adapter/`; one that
      holds an adapter alone becomes an adapter's folder.
    - The research code's `3d-vae.pt` becomes a folder as diffusers keeps an autoencoder.
    - An adapter's folder, or a transformer in diffusers' layout, becomes a SAT checkpoint.

    Args:
        source: a file, a folder, a Hub id, or `pocket`.
        target: an empty or new folder; for a SAT checkpoint also a new `.safetensors` or `.pt` file.
        only: `adapter`: of a SAT checkpoint, make nothing but the adapter's folder.
        base: the base model of an adapter that comes alone, anything that `load_denoiser` takes.
        dtype: of the weights that are written, `float32`, `bfloat16` or `float16`; none: as they are stored.

    Raises:
        ValueError: it is none of these, or damaged; names the file and the key. Nothing is written then.
    """
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"unknown dtype {dtype!r}: choose {', '.join(DTYPES)}")
    source, target = located(source), Path(target)
    if target.exists() and source.resolve() == target.resolve():
        raise ValueError(f"{target}: is what shall be converted; give another place")
    if target.is_file():
        raise ValueError(f"{target}: exists; choose a new name")
    require_empty(target)
    kind = None if dtype is None else DTYPES[dtype]
    if (source / CARD).is_file():
        return _adapter_to_sat(source, target, kind)
    if source.is_dir() and not is_sat(source):
        return _transformer_to_sat(source, target, kind)
    if source.is_file() and source.suffix not in (".safetensors", *SUFFIXES):
        raise ValueError(f"{source}: neither a folder nor a file of weights (.safetensors, {', '.join(SUFFIXES)})")
    files = None if source.is_dir() else TensorFiles([source])
    if files is not None and is_sat_autoencoder(files):
        return _autoencoder(source, target, kind)
    if files is not None and not has_sat_keys(files):
        refuse_foreign(source)
        raise ValueError(f"{source}: weights of no format that is converted (its first key is {next(iter(files))})")
    return _sat(source, target, only=only, base=base, dtype=kind)


def _sat(
    source: Path, target: Path, *, only: str | None, base: str | Path | None, dtype: torch.dtype | None
) -> Conversion:
    model = None if base is None else load_denoiser(base, adapter=None).transformer
    file = open_sat(source, size=None if model is None else model.size)
    notes = _left_out(file)
    if file.told is None or only == "adapter":
        if file.adapter_size is None:
            raise ValueError(f"{file.path}: has no adapter in it (no cross_attention among its keys)")
        model = model if file.told is None else file.transformer()
        known = None if model is None else fingerprint(model)
        if known is None:
            notes.append("the base model is not known: the adapter will be taken by any of its size")
        notes += _write_adapter(file, target, base_fingerprint=known, dtype=dtype)
        return Conversion("SAT checkpoint -> adapter", (target,), tuple(notes))
    with atomic_folder(target, *_PARTS) as folder:
        notes += _write_base(file, source, folder, dtype)
        written = tuple(target / path.name for path in sorted(folder.iterdir()))
    return Conversion("SAT checkpoint -> base model in diffusers' layout", written, tuple(notes))


def _write_base(file: SatFile, source: Path, folder: Path, dtype: torch.dtype | None) -> list[str]:
    assert file.told is not None
    size, notes = file.told.size, []
    pixels = {"height": size.base_height * 8, "width": size.base_width * 8}
    videos = {} if file.told.latent_frames is None else {"frames": Compression().frames(file.told.latent_frames)}
    defaults = Defaults(**pixels, **videos)  # pyright: ignore[reportArgumentType]
    create_base(folder, defaults, snr_shift=SNR_SHIFTS[size.position])
    transformer = file.transformer()
    save_transformer(transformer, folder / "transformer", dtype=dtype, frames=defaults.frames)
    if file.adapter_size is not None:
        notes += _write_adapter(file, folder / "adapter", base_fingerprint=fingerprint(transformer), dtype=dtype)
    place = source if source.is_dir() else source.parent
    autoencoder, text = find_sat_autoencoder(place), find_t5(place)
    if autoencoder is not None:
        scale = SCALES[size.position]
        model = load_sat_autoencoder(autoencoder, scaling_factor=scale, dtype=dtype)
        with saving(folder / "vae"):
            model.save_pretrained(folder / "vae")
    else:
        notes.append("no autoencoder was beside it: put the published vae/ into the folder")
    if text is not None:
        _copy_text_encoder(*text, folder)
    else:
        notes.append("no T5 was beside it: put the published text_encoder/ and tokenizer/ into the folder")
    return notes


def _write_adapter(
    file: SatFile, target: Path, *, base_fingerprint: str | None, dtype: torch.dtype | None
) -> list[str]:
    """With the research code's image preprocessing; returns what is worth a note."""
    adapter, encoder, notes = file.adapter(), CLIP, []
    if file.projection is None:
        encoder = None
        width = adapter.size.width
        adapter.projection = nn.Linear(width, width, dtype=next(adapter.parameters()).dtype)
        nn.init.eye_(adapter.projection.weight)
        nn.init.zeros_(adapter.projection.bias)
        notes.append(f"no image projection in the file: the adapter reads tokens of {width} channels, projected before")
    facts = {"converted_from": file.path.name}
    save_adapter(
        adapter, target, base_fingerprint=base_fingerprint, facts=facts, image_encoder=encoder,
        image_fit="squash-bilinear", dtype=dtype,
    )  # fmt: skip
    return notes


def _left_out(file: SatFile) -> list[str]:
    """Sentences about keys that have no place in the result."""
    unused = [key for key in file.passed_over if "post_cross_attention_layernorm" in key]
    engine = [key for key in file.passed_over if key not in unused and not key.startswith(f"{file.prefix}mixins.")]
    notes = []
    if unused:
        notes.append(f"dropped, for the research code never calls them: {_counted(unused)}")
    if engine:
        notes.append(f"left out, for they are no part of transformer or adapter: {_counted(engine)}")
    return notes


def _counted(keys: Sequence[str]) -> str:
    return keys[0] + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")


def _copy_text_encoder(model: Path, tokenizer: Path, folder: Path) -> None:
    for source, target, patterns in (
        (model, folder / "text_encoder", ("config.json", "*.safetensors", "*.safetensors.index.json", "*.bin*")),
        (tokenizer, folder / "tokenizer", _TOKENIZER),
    ):
        target.mkdir()
        for path in (path for pattern in patterns for path in source.glob(pattern)):
            shutil.copyfile(path, target / path.name)


def _autoencoder(source: Path, target: Path, dtype: torch.dtype | None) -> Conversion:
    model = load_sat_autoencoder(source, scaling_factor=SCALES["sincos"], dtype=dtype)
    with atomic_folder(target, "config.json", "diffusion_pytorch_model*") as folder, saving(target):
        model.save_pretrained(folder)
    note = f"scaling_factor is CogVideoX-2B's, {SCALES['sincos']}; for 5B write {SCALES['rotary']} into config.json"
    return Conversion("SAT autoencoder -> autoencoder in diffusers' layout", (target,), (note,))


def _adapter_to_sat(source: Path, target: Path, dtype: torch.dtype | None) -> Conversion:
    save_sat(target, None, load_adapter(source), dtype=dtype)
    notes = tuple(_read_otherwise(read_card(source)))
    return Conversion("adapter -> SAT checkpoint of the adapter alone", (target,), notes)


def _read_otherwise(card: AdapterCard) -> Iterator[str]:
    """What the research code does to images that is not what the adapter was trained with."""
    if card.image_fit != "squash-bilinear":
        yield "the adapter was trained on padded images; the research code squashes them"
    if card.hidden_state != "last":
        yield "the adapter was trained on the penultimate hidden state; the research code takes the last"


def _transformer_to_sat(source: Path, target: Path, dtype: torch.dtype | None) -> Conversion:
    folder = source / "transformer" if (source / "transformer").is_dir() else source
    if not (folder / "config.json").is_file():
        refuse_foreign(folder)
    transformer, notes = load_transformer(folder), []
    if transformer.size.head_norm_eps != 1e-6:
        notes.append("the research code's last norm has epsilon 1e-6, diffusers' 1e-5: outputs differ by about 1e-5")
    frames, adapter = frames_of(folder / "config.json"), None
    if (source / "adapter" / CARD).is_file():
        card = read_card(source / "adapter")
        if card.size.query_norm:
            notes.append("its adapter is left out: it normalizes its queries, which SAT's layers cannot do")
        else:
            adapter = load_adapter(source / "adapter", base_fingerprint=fingerprint(transformer))
            notes += _read_otherwise(card)
    save_sat(target, transformer, adapter, dtype=dtype, latent_frames=Compression().latent_frames(frames))
    return Conversion("transformer in diffusers' layout -> SAT checkpoint", (target,), tuple(notes))
