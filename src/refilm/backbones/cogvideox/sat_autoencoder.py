"""Loading of the SAT 3-D autoencoder, `3d-vae.pt`.

All tensors are copied unchanged; only names differ. Sizes are inferred from the shapes.
"""

import re
from functools import partial
from pathlib import Path
from typing import Any

import torch

from refilm.backbones.cogvideox.autoencoder import Autoencoder, AutoencoderFields, filled
from refilm.backbones.cogvideox.sat_sizes import layers_in
from refilm.weights.configs import validated
from refilm.weights.pickles import SUFFIXES
from refilm.weights.tensors import TensorFiles

SCALES = {"sincos": 1.15258426, "rotary": 0.7}  # latent scaling of CogVideoX-2B and 5B, which is not in the files
_FIRST = "encoder.conv_in.conv.weight"
_LAST = "decoder.conv_out.conv.weight"
_RENAMED = [
    (r"\.down_blocks\.(\d+)\.resnets\.", r".down.\1.block."),
    (r"\.down_blocks\.(\d+)\.downsamplers\.0\.", r".down.\1.downsample."),
    (r"\.up_blocks\.(\d+)\.resnets\.", r".up.\1.block."),
    (r"\.up_blocks\.(\d+)\.upsamplers\.0\.", r".up.\1.upsample."),
    (r"\.mid_block\.resnets\.0\.", r".mid.block_1."),
    (r"\.mid_block\.resnets\.1\.", r".mid.block_2."),
    (r"\.conv_shortcut\.", r".nin_shortcut."),
]


def load_sat_autoencoder(
    path: Path, *, scaling_factor: float, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> Autoencoder:
    """Load the autoencoder.

    Args:
        path: the file.
        scaling_factor: latent scaling, see `SCALES`.
        dtype: dtype of the weights in memory. Default: as stored.
        device: device of the weights.

    Raises:
        UserError: the file is missing, damaged, or not an autoencoder; names the file and the key.
    """
    files = TensorFiles([path])
    files.drop(*[key for key in files if key.startswith("loss.")])  # only used in training
    fields = sat_autoencoder_fields(files, scaling_factor=scaling_factor)
    levels = len(fields.block_out_channels)
    name = partial(sat_autoencoder_name, levels=levels)
    return filled(fields, files, name=name, dtype=dtype, device=device)


def sat_autoencoder_fields(files: TensorFiles, *, scaling_factor: float) -> AutoencoderFields:
    """The content of diffusers' `config.json`, inferred from the shapes of the weights.

    Raises:
        UserError: a required weight is missing or has an invalid shape; names the file and the key.
    """
    levels = layers_in(files, "encoder.down.")
    found = {
        "_class_name": "AutoencoderKLCogVideoX",
        "in_channels": files.shape(_FIRST, 5)[1],
        "out_channels": files.shape(_LAST, 5)[0],
        "latent_channels": files.shape("decoder.conv_in.conv.weight", 5)[1],
        "block_out_channels": [files.shape(f"encoder.down.{i}.block.0.conv1.conv.weight", 5)[0] for i in range(levels)],
        "layers_per_block": layers_in(files, "encoder.down.0.block."),
        "down_block_types": ["CogVideoXDownBlock3D"] * levels,
        "up_block_types": ["CogVideoXUpBlock3D"] * levels,
        "scaling_factor": scaling_factor,
    }
    return validated(found, AutoencoderFields, Path(files.name))


def describe_sat_autoencoder(files: TensorFiles) -> dict[str, Any]:
    """The facts in the file, as in `config.json`; the scaling factor is not one of them."""
    facts = sat_autoencoder_fields(files, scaling_factor=1.0).given()
    del facts["scaling_factor"]
    return facts


def is_sat_autoencoder(files: TensorFiles) -> bool:
    """Whether these are the weights of a SAT autoencoder, decided from its keys."""
    return _FIRST in files and _LAST in files and any(key.startswith("encoder.down.0.") for key in files)


def find_sat_autoencoder(folder: Path) -> Path | None:
    """Find the autoencoder of a SAT checkpoint: in its folder, or in a folder called `vae`.

    Raises:
        UserError: a candidate file is damaged; names it.
    """
    beside = [folder.parent] if folder.name == "transformer" else []
    for place in (folder, *beside):
        paths = [path for near in (place, place / "vae") for path in sorted(near.glob("*")) if path.suffix in SUFFIXES]
        for path in sorted(paths, key=lambda path: "vae" not in path.name):  # likely ones first
            if is_sat_autoencoder(TensorFiles([path])):
                return path
    return None


def sat_autoencoder_name(name: str, levels: int) -> str:
    """The SAT name of a weight in diffusers; the SAT decoder counts levels in reverse order."""
    for ours, theirs in _RENAMED:
        name = re.sub(ours, theirs, name)
    return re.sub(r"(?<=\.up\.)\d+", lambda level: str(levels - 1 - int(level[0])), name)
