"""CogVideoX as diffusers keeps it: the transformer (config and weights) and the noise schedule, both ways.

Every tensor is carried over bit by bit; only their grouping differs. Knows the file layout, not diffusers itself.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import save_torch_state_dict

from refilm.checkpoints.files import TensorFiles, read_json, replaced, write_json
from refilm.checkpoints.fingerprints import base_weights
from refilm.diffusion import Schedule, scaled_linear
from refilm.model import Transformer
from refilm.sizes import TransformerSize

WEIGHTS = "diffusion_pytorch_model"
_CLASS = "CogVideoXTransformer3DModel"
_POSITIONS = "patch_embed.pos_embedding"  # a table that some old files carry; it is computed

_OURS = "head_norm_eps"  # written only where it is not diffusers' 1e-5; diffusers then warns that it does not know it

_INTEGERS = {
    "num_layers": "layers",
    "num_attention_heads": "heads",
    "attention_head_dim": "head_dim",
    "in_channels": "channels",
    "patch_size": "patch",
    "text_embed_dim": "text_dim",
    "max_text_seq_length": "text_length",
    "time_embed_dim": "time_dim",
    "sample_height": "base_height",
    "sample_width": "base_width",
}
_FACTORS = {
    "spatial_interpolation_scale": "spatial_interpolation",
    "temporal_interpolation_scale": "temporal_interpolation",
    _OURS: "head_norm_eps",
}
_FIXED = {  # what all published models have, and what diffusers takes where a config does not say
    "activation_fn": "gelu-approximate",
    "attention_bias": True,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "norm_elementwise_affine": True,
    "norm_eps": 1e-5,
    "patch_bias": True,
    "timestep_activation_fn": "silu",
}

_SCHEDULE = "scheduler_config.json"
_SCHEDULERS = ("CogVideoXDPMScheduler", "CogVideoXDDIMScheduler")
_PROCESS = {"prediction_type": "v_prediction", "beta_schedule": "scaled_linear"}
_LEVELS = {"beta_start": "beta_start", "beta_end": "beta_end", "snr_shift_scale": "snr_shift"}


class Piece(NamedTuple):
    """Rows of one of their tensors: `part` of `parts` equal ones."""

    key: str
    part: int = 0
    parts: int = 1


_AROUND = {
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
    "modulation": (  # shift, scale and gate: of the video for attention and MLP, then of the text
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
    folder: Path | str, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> Transformer:
    """Read a transformer from a folder with `config.json` and safetensors weights, one file or several.

    Args:
        folder: the transformer's own; within a pipeline's, the one called `transformer`.
        dtype: of the weights in memory; none: as they are stored.
        device: where to.

    Raises:
        ValueError: a file is missing or damaged, a key or shape is not what the config tells, or the model is not a
            text-to-video CogVideoX of the first generation; names the file and the key.
    """
    folder = Path(folder)
    size = size_of(folder / "config.json")
    with torch.device("meta"):
        transformer = Transformer(size)
    files, pieces = TensorFiles(_weight_files(folder)), layout(size.layers)
    files.drop(_POSITIONS)
    ours = {name: tuple(weight.shape) for name, weight in transformer.state_dict().items()}
    files.check(
        {p.key: (ours[name][0] // len(of) * p.parts, *ours[name][1:]) for name, of in pieces.items() for p in of}
    )
    weights = {}
    for name, of in pieces.items():
        read = [files.tensor(p.key).chunk(p.parts)[p.part].to(device, dtype) for p in of]
        weights[name] = read[0] if len(read) == 1 else torch.cat(read)
    transformer.load_state_dict(weights, assign=True)
    return transformer


def save_transformer(
    transformer: Transformer, folder: Path | str, *, dtype: torch.dtype | None = None, frames: int = 49
) -> None:
    """Write a transformer so that diffusers and `load_transformer` read it; the folder appears whole or not at all.

    An attached adapter is left out. An older transformer in the folder is replaced, other files stay.

    Args:
        dtype: of the weights in the file; none: as they are.
        frames: of a film, where diffusers' pipeline is not told.
    """
    weights, theirs = base_weights(transformer), {}
    for name, of in layout(transformer.size.layers).items():
        for piece, rows in zip(of, weights[name].to("cpu", dtype).chunk(len(of)), strict=True):
            theirs.setdefault(piece.key, [rows] * piece.parts)[piece.part] = rows
    with replaced(Path(folder), "config.json", f"{WEIGHTS}*") as temporary:
        write_json(temporary / "config.json", config_of(transformer.size, frames=frames))
        save_torch_state_dict(
            {key: torch.cat(rows) for key, rows in theirs.items()},
            temporary,
            filename_pattern=f"{WEIGHTS}{{suffix}}.safetensors",
            max_shard_size="10GB",
        )


def layout(layers: int) -> dict[str, tuple[Piece, ...]]:
    """Each of our weights by name, and the pieces of theirs that it is made of, from its first row down."""
    modules: dict[str, tuple[Piece, ...]] = {ours: (Piece(theirs),) for ours, theirs in _AROUND.items()}
    for layer in range(layers):
        theirs = f"transformer_blocks.{layer}"
        for ours, pieces in _BLOCK.items():
            modules[f"trunk.blocks.{layer}.{ours}"] = tuple(p._replace(key=f"{theirs}.{p.key}") for p in pieces)
    return {
        f"{ours}.{kind}": tuple(p._replace(key=f"{p.key}.{kind}") for p in pieces)
        for ours, pieces in modules.items()
        for kind in ("weight", "bias")
    }


def size_of(path: Path) -> TransformerSize:
    """The sizes that a `config.json` tells.

    Raises:
        ValueError: not the config of a text-to-video CogVideoX of the first generation; says what it is.
    """
    config = read_json(path)
    _refuse_others(config, path)
    sizes: dict[str, Any] = {}
    for key, field in _INTEGERS.items():
        sizes[field] = value = config.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{path}: {key}: must be a whole number of at least 1 (received {value!r})")
    for key, field in _FACTORS.items():
        sizes[field] = value = config.get(key, 1e-5 if key == _OURS else None)
        if not isinstance(value, float | int) or isinstance(value, bool) or not value > 0:
            raise ValueError(f"{path}: {key}: must be a number above 0 (received {value!r})")
    rotary = config.get("use_rotary_positional_embeddings", False)
    return TransformerSize(**sizes, position="rotary" if rotary else "sincos")


def _refuse_others(config: dict[str, Any], path: Path) -> None:
    kind = config.get("_class_name", _CLASS)
    if kind != _CLASS:
        raise ValueError(f"{path}: of a {kind}; refilm reads {_CLASS}")
    which = "refilm reads text-to-video models of the first generation, CogVideoX-2B and 5B"
    if config.get("patch_size_t") is not None or config.get("ofs_embed_dim"):
        raise ValueError(
            f"{path}: a CogVideoX 1.5, whose patches span frames (patch_size_t {config.get('patch_size_t')}); {which}"
        )
    channels = config.get("in_channels"), config.get("out_channels")
    if config.get("use_learned_positional_embeddings") or channels[0] != channels[1]:
        raise ValueError(
            f"{path}: an image-to-video CogVideoX, which takes a picture as {channels[0]} - {channels[1]} further "
            f"channels of the latents; {which}"
        )
    for key, value in _FIXED.items():
        if config.get(key, value) != value:
            raise ValueError(f"{path}: {key}: must be {value!r} (received {config[key]!r})")


def config_of(size: TransformerSize, *, frames: int = 49) -> dict[str, Any]:
    """The `config.json` of a size."""
    config = {
        "_class_name": _CLASS,
        **{key: getattr(size, field) for key, field in (_INTEGERS | _FACTORS).items()},
        **_FIXED,
        "out_channels": size.channels,
        "dropout": 0.0,
        "sample_frames": frames,
        "temporal_compression_ratio": 4,
        "use_rotary_positional_embeddings": size.position == "rotary",
        "use_learned_positional_embeddings": False,
    }
    if size.head_norm_eps == _FIXED["norm_eps"]:
        del config[_OURS]
    return config


def _weight_files(folder: Path) -> list[Path]:
    single, index = folder / f"{WEIGHTS}.safetensors", folder / f"{WEIGHTS}.safetensors.index.json"
    if single.is_file() or not index.is_file():
        return [single]
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise ValueError(f"{index}: weight_map: must tell each tensor's file (received {type(names).__name__})")
    return [folder / name for name in sorted(set(names.values()))]


def load_schedule(folder: Path | str) -> Schedule:
    """Read the schedule from a folder with `scheduler_config.json`: within a pipeline's, the one called `scheduler`.

    Raises:
        ValueError: the file is missing or damaged, or tells another kind of process; names the file and the key.
    """
    path = Path(folder) / _SCHEDULE
    config = read_json(path)
    if config.get("_class_name") not in _SCHEDULERS:
        raise ValueError(
            f"{path}: _class_name: must be {' or '.join(_SCHEDULERS)} (received {config.get('_class_name')})"
        )
    for key, value in _PROCESS.items():
        if config.get(key) != value:
            raise ValueError(f"{path}: {key}: must be {value} (received {config.get(key)!r})")
    if config.get("trained_betas") is not None:
        raise ValueError(f"{path}: trained_betas: a table of betas is not supported, only a scaled-linear schedule")
    steps, zero = config.get("num_train_timesteps"), config.get("rescale_betas_zero_snr")
    if not isinstance(steps, int) or isinstance(steps, bool):
        raise ValueError(f"{path}: num_train_timesteps: must be a whole number (received {steps!r})")
    if not isinstance(zero, bool):
        raise ValueError(f"{path}: rescale_betas_zero_snr: must be true or false (received {zero!r})")
    numbers = {}
    for key, name in _LEVELS.items():
        if not isinstance(config.get(key), int | float):
            raise ValueError(f"{path}: {key}: must be a number (received {config.get(key)!r})")
        numbers[name] = float(config[key])
    try:
        return scaled_linear(**numbers, steps=steps, zero_terminal_snr=zero)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def save_schedule(
    folder: Path | str,
    *,
    beta_start: float = 0.00085,
    beta_end: float = 0.012,
    steps: int = 1000,
    snr_shift: float = 3.0,
    zero_terminal_snr: bool = True,
) -> Schedule:
    """Write a schedule so that diffusers and `load_schedule` read it, and return it. Arguments as `scaled_linear` has.

    Raises:
        ValueError: a number that gives no falling schedule.
    """
    schedule = scaled_linear(
        beta_start=beta_start, beta_end=beta_end, steps=steps, snr_shift=snr_shift, zero_terminal_snr=zero_terminal_snr
    )
    config = {
        "_class_name": _SCHEDULERS[0],
        "beta_start": beta_start,
        "beta_end": beta_end,
        "num_train_timesteps": steps,
        "snr_shift_scale": snr_shift,
        "rescale_betas_zero_snr": zero_terminal_snr,
        "timestep_spacing": "trailing",
        "clip_sample": False,
        "set_alpha_to_one": True,
        "steps_offset": 0,
        "trained_betas": None,
        **_PROCESS,
    }
    with replaced(Path(folder), _SCHEDULE) as temporary:
        write_json(temporary / _SCHEDULE, config)
    return schedule
