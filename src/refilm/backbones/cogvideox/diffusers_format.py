"""Loading and saving of CogVideoX's transformer in diffusers' layout, config and weights.

Tensors are copied bit-exactly; only their grouping differs. Uses the file layout, not the diffusers package.
"""

from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field

from refilm.backbones.cogvideox.position import RotaryPosition, SincosPosition
from refilm.backbones.cogvideox.sizes import TransformerSize
from refilm.backbones.cogvideox.transformer import Transformer
from refilm.backbones.diffusers_files import filled, size_beside, weights_in, with_kinds, write_transformer
from refilm.errors import UserError
from refilm.weights.configs import Config, read_config, read_object, validated
from refilm.weights.tensors import Layout, Piece, TensorFiles


class _Frames(Config):
    sample_frames: Annotated[int, Field(ge=1, le=10_000)] = 49


TRANSFORMER = "CogVideoXTransformer3DModel"
"""Its class in diffusers."""
_POSITIONS = "patch_embed.pos_embedding"  # a table in some old files; refilm computes it

_OURS = "head_norm_eps"  # written only if it is not diffusers' 1e-5; diffusers then warns about an unknown key
_PATCH_TIME = "patch_size_t"  # null in the first generation
_ABSENT = {_OURS: 1e-5, _PATCH_TIME: 1}
_VIDEOS_OF_15 = {"fps": 16.0, "height": 768, "width": 1360}  # its config has no such key

_SIZES = {
    "num_layers": "layers",
    "num_attention_heads": "heads",
    "attention_head_dim": "head_dim",
    "in_channels": "channels",
    "patch_size": "patch",
    _PATCH_TIME: "patch_time",
    "text_embed_dim": "text_dim",
    "max_text_seq_length": "text_length",
    "time_embed_dim": "time_dim",
    "sample_height": "base_height",
    "sample_width": "base_width",
    "spatial_interpolation_scale": "spatial_interpolation",
    "temporal_interpolation_scale": "temporal_interpolation",
    _OURS: "head_norm_eps",
}
_FIXED = {  # the values of all published models, and diffusers' defaults
    "activation_fn": "gelu-approximate",
    "attention_bias": True,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "norm_elementwise_affine": True,
    "norm_eps": 1e-5,
    "patch_bias": True,
    "timestep_activation_fn": "silu",
}

_OUTER = {
    "patch_embedding.projection": "patch_embed.proj",
    "text_embedding": "patch_embed.text_proj",
    "time_embedding.hidden": "time_embedding.linear_1",
    "time_embedding.out": "time_embedding.linear_2",
    "head.norm": "norm_final",
    "head.video_norm": "norm_out.norm",
    "head.modulation": "norm_out.linear",
    "head.out": "proj_out",
}
_BLOCK: dict[str, tuple[Piece, ...]] = {
    "modulation": (  # shift, scale and gate: video for attention and MLP, then text
        Piece("norm1.linear", 0, 2),
        Piece("norm2.linear", 0, 2),
        Piece("norm1.linear", 1, 2),
        Piece("norm2.linear", 1, 2),
    ),
    "attention_norm": (Piece("norm1.norm"),),
    "attention.query_key_value": (Piece("attn1.to_q"), Piece("attn1.to_k"), Piece("attn1.to_v")),
    "attention.query_norm": (Piece("attn1.norm_q"),),
    "attention.key_norm": (Piece("attn1.norm_k"),),
    "attention.out": (Piece("attn1.to_out.0"),),
    "mlp_norm": (Piece("norm2.norm"),),
    "mlp.0": (Piece("ff.net.0.proj"),),
    "mlp.2": (Piece("ff.net.2"),),
}


def load_transformer(
    folder: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> Transformer:
    """Load a transformer, see `refilm.checkpoints.load_transformer`.

    Raises:
        UserError: a file is missing or damaged, a key or shape does not match the config, or the model is not a
            text-to-video CogVideoX; names the file and the key.
    """
    return _filled(size_of(folder / "config.json"), weights_in(folder), dtype=dtype, device=device)


def load_transformer_file(
    path: Path, *, size: TransformerSize | None, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> Transformer:
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
    size: TransformerSize, files: TensorFiles, *, dtype: torch.dtype | None, device: torch.device | str
) -> Transformer:
    files.drop(_POSITIONS)
    return filled(Transformer, size, files, layout, dtype=dtype, device=device)


def save_transformer(
    transformer: Transformer,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    frames: int = 49,
    max_shard_size: str = "10GB",
) -> None:
    """Write a transformer, see `refilm.checkpoints.save_transformer`.

    Raises:
        UserError: the transformer has a custom position table, which diffusers' layout does not support; or a weight
            is not finite, or out of the range of `dtype`.
    """
    if not isinstance(transformer.position, SincosPosition | RotaryPosition):
        raise UserError("this transformer has a custom position table, which diffusers' layout does not support")
    size = transformer.size
    write_transformer(
        transformer,
        folder,
        layout=layout(size.layers),
        config=config_of(size, frames=frames),
        dtype=dtype,
        max_shard_size=max_shard_size,
    )


def layout(layers: int) -> Layout:
    """Each refilm weight by name, and the pieces of diffusers' weights it consists of, in row order."""
    modules: dict[str, tuple[Piece, ...]] = {ours: (Piece(theirs),) for ours, theirs in _OUTER.items()}
    for layer in range(layers):
        theirs = f"transformer_blocks.{layer}"
        for ours, pieces in _BLOCK.items():
            modules[f"trunk.blocks.{layer}.{ours}"] = tuple(p._replace(key=f"{theirs}.{p.key}") for p in pieces)
    return with_kinds(modules)


def size_of(path: Path) -> TransformerSize:
    """Read the sizes from a `config.json`.

    Raises:
        UserError: it is not the config of a text-to-video CogVideoX; names the model.
    """
    config = read_object(path)
    _refuse_others(config, path)
    sizes = {field: _ABSENT.get(key) if config.get(key) is None else config[key] for key, field in _SIZES.items()}
    rotary = config.get("use_rotary_positional_embeddings", False)
    names = {field: key for key, field in _SIZES.items()}
    return validated(sizes | {"position": "rotary" if rotary else "sincos"}, TransformerSize, path, names=names)


def defaults_of(path: Path) -> dict[str, Any]:
    """Defaults of generation: the number of video frames in a `config.json`, 49 if it has none; for CogVideoX 1.5 also
    frame rate, height and width of the published model.

    Raises:
        UserError: a value is invalid; names the file and the key.
    """
    frames = {"frames": read_config(path, _Frames).sample_frames}
    return frames if size_of(path).patch_time == 1 else frames | _VIDEOS_OF_15


def _refuse_others(config: dict[str, Any], path: Path) -> None:
    kind = config.get("_class_name") or TRANSFORMER
    if kind != TRANSFORMER:
        raise UserError(f"{path}: is the config of a {kind!r:.60}; refilm supports {TRANSFORMER}")
    channels, offset = (config.get("in_channels"), config.get("out_channels")), config.get("ofs_embed_dim")
    if config.get("use_learned_positional_embeddings") or channels[0] != channels[1] or offset:
        raise UserError(
            f"{path}: is an image-to-video CogVideoX (in_channels {channels[0]!r:.60}, out_channels "
            f"{channels[1]!r:.60}, ofs_embed_dim {offset!r:.60}); refilm supports the text-to-video models 2B, 5B and "
            "1.5 5B"
        )
    patch = config.get(_PATCH_TIME)
    if patch == 1:
        raise UserError(f"{path}: {_PATCH_TIME}: must be null, or at least 2 (received 1)")
    for key, value in _FIXED.items():
        if key == "patch_bias" and patch is not None:
            continue  # false in CogVideoX 1.5, whose patch embedding has a bias all the same
        if config.get(key, value) != value:
            raise UserError(f"{path}: {key}: must be {value!r} (received {config[key]!r:.60})")


def config_of(size: TransformerSize, *, frames: int = 49) -> dict[str, Any]:
    """The content of `config.json` for the given sizes."""
    config = {
        "_class_name": TRANSFORMER,
        **{key: getattr(size, field) for key, field in _SIZES.items()},
        **_FIXED,
        "out_channels": size.channels,
        "dropout": 0.0,
        "sample_frames": frames,
        "temporal_compression_ratio": 4,
        "use_rotary_positional_embeddings": size.position == "rotary",
        "use_learned_positional_embeddings": False,
    }
    if size.patch_time == 1:
        del config[_PATCH_TIME]
    else:
        config["patch_bias"] = False  # as published; see `_refuse_others`
    if size.head_norm_eps == _FIXED["norm_eps"]:
        del config[_OURS]
    return config
