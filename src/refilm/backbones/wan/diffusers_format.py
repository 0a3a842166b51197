"""Loading and saving of Wan's transformer in diffusers' layout, config and weights.

Tensors are copied bit-exactly; only their grouping differs. Uses the file layout, not the diffusers package.
"""

from pathlib import Path
from typing import Any

import torch

from refilm.backbones.diffusers_files import filled, size_beside, weights_in, with_kinds, write_transformer
from refilm.backbones.wan.sizes import WanSize
from refilm.backbones.wan.transformer import WanTransformer
from refilm.errors import UserError
from refilm.weights.configs import read_object, validated
from refilm.weights.tensors import Layout, Piece, TensorFiles

TRANSFORMER = "WanTransformer3DModel"
"""Its class in diffusers."""
FRAMES = 81
"""Video frames of the published models."""
_LENGTH = "text_length"  # written only if it is not the published 512; diffusers then warns about an unknown key

_SIZES = {
    "num_layers": "layers",
    "num_attention_heads": "heads",
    "attention_head_dim": "head_dim",
    "in_channels": "channels",
    "text_dim": "text_dim",
    "freq_dim": "frequencies",
    "ffn_dim": "hidden",
    "eps": "eps",
    _LENGTH: "text_length",
}
_PUBLISHED = {"layers": 40, "heads": 40}  # diffusers' defaults where a config leaves them out
_FIXED = {  # the values of the published text-to-video models, and diffusers' defaults
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "rope_max_seq_len": 1024,
    "image_dim": None,
    "added_kv_proj_dim": None,
    "pos_embed_seq_len": None,
}

_OUTER = {
    "patch_embedding": "patch_embedding",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.hidden": "condition_embedder.time_embedder.linear_1",
    "time_embedding.out": "condition_embedder.time_embedder.linear_2",
    "modulation": "condition_embedder.time_proj",
    "head.out": "proj_out",
}
_BLOCK = {
    "attention.query_key_value": ("attn1.to_q", "attn1.to_k", "attn1.to_v"),
    "attention.out": ("attn1.to_out.0",),
    "text_norm": ("norm2",),
    "text_attention.query": ("attn2.to_q",),
    "text_attention.key_value": ("attn2.to_k", "attn2.to_v"),
    "text_attention.out": ("attn2.to_out.0",),
    "mlp.0": ("ffn.net.0.proj",),
    "mlp.2": ("ffn.net.2",),
}
_NORMS = {
    "attention.query_norm": "attn1.norm_q",
    "attention.key_norm": "attn1.norm_k",
    "text_attention.query_norm": "attn2.norm_q",
    "text_attention.key_norm": "attn2.norm_k",
}


_PRECISE = ("time_embedding.", "text_norm.", "table")  # float32 in any model, as in diffusers


def load_transformer(
    folder: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> WanTransformer:
    """Load a transformer, see `refilm.checkpoints.load_transformer`. Time embedding and tables stay in float32.

    Raises:
        UserError: a file is missing or damaged, a key or shape does not match the config, or the model is not a
            text-to-video Wan 2.1; names the file and the key.
    """
    return _filled(size_of(folder / "config.json"), weights_in(folder), dtype=dtype, device=device)


def load_transformer_file(
    path: Path, *, size: WanSize | None, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> WanTransformer:
    """Load a transformer from a single weights file.

    Args:
        path: the file.
        size: its sizes. Default: read from a `config.json` in the same folder.
        dtype: dtype of the weights in memory. Default: as stored.
        device: device of the weights.

    Raises:
        UserError: as `load_transformer` does, or the sizes are unknown.
    """
    return _filled(size_beside(path, size, size_of), TensorFiles([path]), dtype=dtype, device=device)


def _filled(
    size: WanSize, files: TensorFiles, *, dtype: torch.dtype | None, device: torch.device | str
) -> WanTransformer:
    return filled(WanTransformer, size, files, layout, dtype=dtype, device=device, exact=_exact)


def _exact(name: str) -> torch.dtype | None:
    return torch.float32 if any(part in name for part in _PRECISE) else None


def save_transformer(
    transformer: WanTransformer,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    frames: int = FRAMES,
    max_shard_size: str = "10GB",
) -> None:
    """Write a transformer, see `refilm.checkpoints.save_transformer`. The layout has no number of frames.

    Raises:
        UserError: a weight is not finite, or out of the range of `dtype`.
    """
    size = transformer.size
    write_transformer(
        transformer,
        folder,
        layout=layout(size.layers),
        config=config_of(size),
        dtype=dtype,
        max_shard_size=max_shard_size,
    )


def layout(layers: int) -> Layout:
    """Each refilm weight by name, and the pieces of diffusers' weights it consists of, in row order."""
    modules: dict[str, tuple[Piece, ...]] = {ours: (Piece(theirs),) for ours, theirs in _OUTER.items()}
    norms: dict[str, tuple[Piece, ...]] = {}
    tables = {"head.table": (Piece("scale_shift_table"),)}
    for layer in range(layers):
        ours, theirs = f"trunk.blocks.{layer}", f"blocks.{layer}"
        for name, keys in _BLOCK.items():
            modules[f"{ours}.{name}"] = tuple(Piece(f"{theirs}.{key}") for key in keys)
        for name, key in _NORMS.items():
            norms[f"{ours}.{name}"] = (Piece(f"{theirs}.{key}"),)
        tables[f"{ours}.table"] = (Piece(f"{theirs}.scale_shift_table"),)
    return {**with_kinds(modules), **with_kinds(norms, ("weight",)), **tables}


def size_of(path: Path) -> WanSize:
    """Read the sizes from a `config.json`.

    Raises:
        UserError: it is not the config of a text-to-video Wan 2.1; names the file, the key and the value.
    """
    config = read_object(path)
    _refuse_others(config, path)
    _refuse_two_transformers(path.parent.parent / "model_index.json")
    patch = config.get("patch_size", [1, 2, 2])
    sizes = {field: config.get(key) for key, field in _SIZES.items() if key in config} | {"patch": patch[1]}
    names = {field: key for key, field in _SIZES.items()} | {"patch": "patch_size"}
    return validated(_PUBLISHED | sizes, WanSize, path, names=names)


def defaults_of(path: Path) -> dict[str, Any]:
    """Defaults of generation: those of the published pipeline, which the config does not name."""
    return {"fps": 16.0, "frames": FRAMES, "height": 480, "width": 832, "guidance": 5.0, "sampler": "unipc"}


def _refuse_others(config: dict[str, Any], path: Path) -> None:
    kind = config.get("_class_name") or TRANSFORMER
    if kind != TRANSFORMER:
        raise UserError(f"{path}: is the config of a {kind!r:.60}; refilm supports {TRANSFORMER}")
    channels = config.get("in_channels", 16), config.get("out_channels") or config.get("in_channels", 16)
    if config.get("image_dim") or config.get("added_kv_proj_dim") or channels[0] != channels[1]:
        raise UserError(
            f"{path}: is an image-to-video Wan (in_channels {channels[0]!r:.60}, out_channels {channels[1]!r:.60}, "
            f"image_dim {config.get('image_dim')!r:.60}); refilm supports the text-to-video models of Wan 2.1"
        )
    patch = config.get("patch_size", [1, 2, 2])
    if not (isinstance(patch, list) and len(patch) == 3 and patch[0] == 1 and patch[1] == patch[2]):
        raise UserError(f"{path}: patch_size: must be 1, p, p (received {patch!r:.60})")
    for key, value in _FIXED.items():
        if config.get(key, value) != value:
            raise UserError(f"{path}: {key}: must be {value!r} (received {config[key]!r:.60})")


def _refuse_two_transformers(index: Path) -> None:
    """Refuse Wan 2.2, whose transformers have the form of Wan 2.1's, by the index of its pipeline."""
    second = read_object(index).get("transformer_2") if index.is_file() else None
    if second not in (None, [None, None]):
        raise UserError(f"{index}: transformer_2: is a Wan 2.2, which has two transformers; refilm supports Wan 2.1")


def config_of(size: WanSize) -> dict[str, Any]:
    """The content of `config.json` for the given sizes."""
    config = {
        "_class_name": TRANSFORMER,
        "patch_size": [1, size.patch, size.patch],
        **{key: getattr(size, field) for key, field in _SIZES.items()},
        **_FIXED,
        "out_channels": size.channels,
    }
    if size.text_length == WanSize.text_length:
        del config[_LENGTH]
    return config
