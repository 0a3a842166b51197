"""Loading and saving of checkpoints of the SAT fork with reference cross-attention (SwissArmyTransformer layout).

A checkpoint is a folder: `latest` names a subfolder with `mp_rank_00_model_states.pt`, a pickle. It contains a
transformer, an adapter for reference images, or both, besides parts that refilm reads elsewhere. All weights have the
same values in the same order as in refilm: only names differ.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from refilm.backbones.cogvideox.position import sincos_table
from refilm.backbones.cogvideox.sat_sizes import ROTATIONS, TABLE, SatSizes, StoredPosition, layers_in, read_sizes
from refilm.backbones.cogvideox.sizes import TransformerSize
from refilm.backbones.cogvideox.transformer import Transformer
from refilm.errors import UserError
from refilm.files import atomic_file, atomic_folder, read_text, write_text
from refilm.geometry import AdapterSize, Compression, Grid
from refilm.model import Adapter
from refilm.weights.configs import validated
from refilm.weights.fingerprints import base_weights
from refilm.weights.pickles import SUFFIXES
from refilm.weights.tensors import Layout, Piece, TensorFiles, fill, save_tensors, saving, unfilled

PREFIX = "model.diffusion_model."
PROJECTION = "conditioner.embedders.1.image_proj"  # the default key in SAT
_HEAD_DIM, _WIDTHS = 64, (1920, 3072)  # of CogVideoX-2B and 5B
_STATES = "mp_rank_00_model_states.pt"
_OUTER = {
    "patch_embedding.projection": "mixins.patch_embed.proj",
    "text_embedding": "mixins.patch_embed.text_proj",
    "time_embedding.hidden": "time_embed.0",
    "time_embedding.out": "time_embed.2",
    "head.norm": "transformer.final_layernorm",
    "head.video_norm": "mixins.final_layer.norm_final",
    "head.modulation": "mixins.final_layer.adaLN_modulation.1",
    "head.out": "mixins.final_layer.linear",
}
_BLOCK = {
    "modulation": "mixins.adaln_layer.adaLN_modulations.{}.1",
    "attention.query_norm": "mixins.adaln_layer.query_layernorm_list.{}",
    "attention.key_norm": "mixins.adaln_layer.key_layernorm_list.{}",
    "attention_norm": "transformer.layers.{}.input_layernorm",
    "attention.query_key_value": "transformer.layers.{}.attention.query_key_value",
    "attention.out": "transformer.layers.{}.attention.dense",
    "mlp_norm": "transformer.layers.{}.post_attention_layernorm",
    "mlp.0": "transformer.layers.{}.mlp.dense_h_to_4h",
    "mlp.2": "transformer.layers.{}.mlp.dense_4h_to_h",
}
_ADAPTER = {
    "query": "transformer.layers.{}.cross_attention.query",
    "key_value": "transformer.layers.{}.cross_attention.key_value",
    "out": "transformer.layers.{}.cross_attention.dense",
}
_NEVER_CALLED = "post_cross_attention_layernorm"  # in every layer and trainable, but not used in the forward
_ELSEWHERE = ("conditioner.", "first_stage_model.", "denoiser.", "loss_fn.", "sampler.")  # parts of the training engine
_ADAPTER_KEY = re.compile(r"transformer\.layers\.\d+\.cross_attention\.")
_PROJECTION_KEY = re.compile(r"(conditioner\.embedders\.\d+\.image_proj)\.weight")


def transformer_names(layers: int) -> dict[str, str]:
    """Names of a transformer's weights: refilm name -> SAT name without `PREFIX`."""
    modules = _OUTER | {
        f"trunk.blocks.{layer}.{ours}": theirs.format(layer)
        for layer in range(layers)
        for ours, theirs in _BLOCK.items()
    }
    return _with_kinds(modules)


def adapter_names(layers: int) -> dict[str, str]:
    """Names of an adapter's layers; its projection is `PROJECTION`, which has no prefix."""
    return _with_kinds(
        {f"layers.{layer}.{ours}": theirs.format(layer) for layer in range(layers) for ours, theirs in _ADAPTER.items()}
    )


def _with_kinds(modules: Mapping[str, str]) -> dict[str, str]:
    return {f"{ours}.{kind}": f"{theirs}.{kind}" for ours, theirs in modules.items() for kind in ("weight", "bias")}


@dataclass
class SatFile:
    """An open SAT checkpoint: its tensors are mapped and sorted, but not read."""

    path: Path
    prefix: str
    base: TensorFiles
    """The transformer's tensors."""
    cross_attention: TensorFiles
    """The adapter's tensors, including its projection."""
    projection: str | None
    """The projection's key. None: there is no projection, and references have the width of the transformer."""
    sizes: SatSizes | None
    """Sizes of the transformer. None: the file has no transformer."""
    given: TransformerSize | None
    """Sizes given by the caller."""
    ignored: tuple[str, ...]
    """Keys that are not used, or are read elsewhere."""

    @property
    def size(self) -> TransformerSize | None:
        """Sizes of the transformer. None: the file has no transformer."""
        return None if self.sizes is None else self.sizes.size

    def defaults(self) -> dict[str, int]:
        """Height, width and, if known, number of frames of the training videos."""
        assert self.sizes is not None
        size, frames, compression = self.sizes.size, self.sizes.latent_frames, Compression()
        pixels = {"height": size.base_height * compression.space, "width": size.base_width * compression.space}
        return pixels if frames is None else pixels | {"frames": compression.frames(frames)}

    def tensors(self) -> Iterator[Tensor]:
        """The tensors of transformer and adapter, mapped."""
        return (part.tensor(key) for part in (self.base, self.cross_attention) for key in part)

    def notes(self) -> list[str]:
        """Notes about keys that are not converted."""
        unused = [key for key in self.ignored if _NEVER_CALLED in key]
        engine = [key for key in self.ignored if key not in unused and not key.startswith(f"{self.prefix}mixins.")]
        notes = []
        if unused:
            notes.append(f"ignored, because SAT never calls them: {_counted(unused)}")
        if engine:
            notes.append(f"ignored, because they are not part of transformer or adapter: {_counted(engine)}")
        return notes

    @property
    def adapter_size(self) -> AdapterSize | None:
        """The size of the adapter in the file, if there is one.

        Raises:
            UserError: the number of heads is unknown.
        """
        prefix = f"{self.prefix}transformer.layers."
        layers = layers_in([key for key in self.cross_attention if _NEVER_CALLED not in key], prefix)
        if layers == 0:
            return None
        width = self.cross_attention.shape(f"{prefix}0.cross_attention.query.weight", 2)[0]
        known = self.given if self.sizes is None else self.sizes.size
        if known is None and width not in _WIDTHS:
            raise UserError(f"{self.path}: the number of heads of this adapter is unknown; pass its base model")
        head_dim = _HEAD_DIM if known is None else known.head_dim
        shape = (0, width) if self.projection is None else self.cross_attention.shape(f"{self.projection}.weight", 2)
        if width % head_dim:
            raise UserError(f"{self.path}: {width} channels cannot be divided into heads of {head_dim}")
        found = {"layers": layers, "heads": width // head_dim, "head_dim": head_dim, "reference_dim": shape[1]}
        return validated(found, AdapterSize, self.path)

    def transformer(self, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu") -> Transformer:
        """Load the transformer.

        Raises:
            UserError: a key, shape or value is invalid; names the file and the key.
        """
        assert self.sizes is not None
        with unfilled():
            transformer = Transformer(self.sizes.size)
        names = transformer_names(self.sizes.size.layers)
        fill(transformer, self.base, self._layout(names), dtype=dtype, device=device)
        if self.sizes.table is not None:
            transformer.position = StoredPosition(self.sizes.table.to(device))  # pyright: ignore[reportAttributeAccessIssue]
        return transformer

    def adapter(self, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu") -> Adapter:
        """Load the adapter. Without a projection in the file it uses references unchanged.

        Raises:
            UserError: as `transformer` does.
        """
        size = self.adapter_size
        assert size is not None
        with unfilled():
            adapter = Adapter(size)
        layout = dict(self._layout(adapter_names(size.layers)))
        if self.projection is None:
            adapter.projection = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
        else:
            layout |= {f"projection.{kind}": (Piece(f"{self.projection}.{kind}"),) for kind in ("weight", "bias")}
        fill(adapter, self.cross_attention, layout, dtype=dtype, device=device)
        return adapter

    def _layout(self, names: Mapping[str, str]) -> Layout:
        return {ours: (Piece(self.prefix + theirs),) for ours, theirs in names.items()}


def _counted(keys: Sequence[str]) -> str:
    return keys[0] + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")


def open_sat(source: Path, *, size: TransformerSize | None = None) -> SatFile:
    """Open a SAT checkpoint: its folder, the file in it, or the same keys as safetensors.

    Args:
        source: the folder with `latest`, or the file.
        size: sizes of the transformer. Default: inferred from the weights (see `sat_sizes`).

    Raises:
        UserError: a file is missing, damaged, or not from a supported CogVideoX; names the file and the key.
    """
    path = sat_path(source)
    files = TensorFiles([path])
    keys = list(files)
    prefix = PREFIX if any(key.startswith(PREFIX) for key in keys) else ""
    projections = sorted({match[1] for key in keys if (match := _PROJECTION_KEY.fullmatch(key))})
    if len(projections) > 1:
        raise UserError(f"{path}: several image projections, {' and '.join(projections)}; refilm supports one")
    projection = projections[0] if projections else None
    mine, layers, rest = [], [], []
    for key in keys:
        if _NEVER_CALLED in key or (key.startswith(_ELSEWHERE) and not key.startswith(projection or "?")):
            rest.append(key)
        elif key.startswith(projection or "?") or _ADAPTER_KEY.match(key.removeprefix(prefix)):
            layers.append(key)
        else:
            mine.append(key)
    base = files.only(mine)
    sizes = read_sizes(base, prefix, size) if mine else None
    computed = [key for key in mine if key.removeprefix(prefix) in (TABLE, *ROTATIONS)]
    base.drop(*computed)
    if not mine and not any(_ADAPTER_KEY.match(key.removeprefix(prefix)) for key in layers):
        raise UserError(f"{path}: contains no CogVideoX weights (its first key is {keys[0]})")
    return SatFile(path, prefix, base, files.only(layers), projection, sizes, size, tuple(rest + computed))


def sat_path(source: Path) -> Path:
    """The file of a checkpoint.

    Raises:
        UserError: the folder has no such file or several; names the missing file.
    """
    if not source.is_dir():
        return source
    folder = (
        source if (source / "latest").is_file() or not (source / "transformer").is_dir() else source / "transformer"
    )
    latest = folder / "latest"
    if not latest.is_file():
        places = [path for path in (folder / _STATES, *sorted(folder.glob(f"*/{_STATES}"))) if path.is_file()]
        if len(places) > 1:
            steps = ", ".join(path.parent.name for path in places)
            raise UserError(f"{latest}: no such file; create it with the name of one checkpoint, one of {steps}")
        if not places:
            raise UserError(f"{latest}: no such file; in a SAT checkpoint it names the folder of the weights")
        return places[0]
    name = read_text(latest).strip()
    if name in ("", "..") or Path(name).name != name:
        raise UserError(f"{latest}: must name a folder next to it (received {name[:60]!r})")
    others = sorted(path.name for path in (folder / name).glob("mp_rank_*_model_states.pt"))[1:]
    if others:
        raise UserError(
            f"{folder / name}: weights are split for several GPUs ({others[0]}); merge them with SAT's tool"
        )
    return folder / name / _STATES


def is_sat(source: Path) -> bool:
    """Whether a folder is a SAT checkpoint, decided from its file names."""
    places = ("latest", "transformer/latest", _STATES, f"*/{_STATES}")
    return any(path.is_file() for place in places for path in source.glob(place))


def has_sat_keys(keys: Iterable[str]) -> bool:
    """Whether a file has the keys of a SAT transformer or adapter."""
    marks = (PREFIX, "mixins.patch_embed.", "transformer.layers.")
    return any(key.startswith(marks) for key in keys)


def save_sat(
    target: Path,
    transformer: Transformer | None,
    adapter: Adapter | None = None,
    *,
    dtype: torch.dtype | None = None,
    frames: int = 49,
) -> None:
    """Write a SAT checkpoint atomically.

    Args:
        target: a folder, for `latest` and `1/mp_rank_00_model_states.pt`; or a `.safetensors` or `.pt` file.
        transformer: the transformer, written with its position table, if it has one.
        adapter: the adapter, written with its projection.
        dtype: dtype of the weights in the file. Default: unchanged.
        frames: number of video frames; the position table covers their latent frames.

    Raises:
        UserError: the transformer is CogVideoX 1.5, or the adapter normalizes its queries, which SAT does not support.
    """
    if transformer is not None and transformer.size.patch_time > 1:
        raise UserError("CogVideoX 1.5 cannot be converted to SAT; use its folder in diffusers' layout")
    weights: dict[str, Tensor] = {}
    if transformer is not None:
        own, names = base_weights(transformer), transformer_names(transformer.size.layers)
        weights |= {PREFIX + theirs: own[ours] for ours, theirs in names.items()}
        table = _table(transformer, Compression().latent_frames(frames))
        if table is not None:
            weights[PREFIX + TABLE] = table.to(weights[f"{PREFIX}mixins.patch_embed.proj.weight"].dtype)
    if adapter is not None:
        if adapter.size.query_norm:
            raise UserError(
                "this adapter normalizes its queries (query_norm), which SAT does not support; an adapter trained with "
                "query_norm = false can be converted"
            )
        own = adapter.state_dict()
        weights |= {PREFIX + theirs: own[ours] for ours, theirs in adapter_names(adapter.size.layers).items()}
        weights |= {f"{PROJECTION}.{kind}": own[f"projection.{kind}"] for kind in ("weight", "bias")}
    weights = {key: weight.detach().to("cpu", dtype).contiguous() for key, weight in weights.items()}
    if target.suffix == ".safetensors":
        with atomic_file(target) as temporary:
            save_tensors(weights, temporary)
    elif target.suffix in SUFFIXES:
        with atomic_file(target) as temporary, saving(target):
            torch.save({"module": weights}, temporary)
    else:
        with atomic_folder(target, "latest", "1") as temporary:
            write_text(temporary / "latest", "1")
            (temporary / "1").mkdir()
            with saving(target):
                torch.save({"module": weights}, temporary / "1" / _STATES)


def _table(transformer: Transformer, latent_frames: int) -> Tensor | None:
    """The position table in SAT's layout, (1, L, D): zeros for the text tokens, then the video tokens."""
    size = transformer.size
    if size.position == "rotary":
        return None
    if isinstance(transformer.position, StoredPosition):
        video = transformer.position.table.cpu()
    else:
        grid = Grid(latent_frames, size.base_height // size.patch, size.base_width // size.patch)
        video = sincos_table(grid, size.width, size.spatial_interpolation, size.temporal_interpolation)
    return torch.cat([video.new_zeros(size.text_length, size.width), video])[None]
