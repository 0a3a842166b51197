"""Loading of CLIP image encoders and their image processors from folders in the layout of transformers."""

from pathlib import Path
from typing import Literal

import torch

from refilm.encoders import ImageEncoder
from refilm.encoders.clip import ClipConfig, ClipVision
from refilm.encoders.preprocessing import ImageProcessor
from refilm.media.preprocessing import BASE_PREPROCESSING, ImagePreprocessing
from refilm.weights.configs import Config, read_config
from refilm.weights.files import weight_files
from refilm.weights.tensors import Piece, TensorFiles, fill, unfilled


class _Kind(Config):
    """A complete CLIP model, or only its vision tower."""

    model_type: Literal["clip", "clip_vision_model"]
    vision_config: ClipConfig | None = None


def load_image_encoder(
    folder: Path,
    processor: Path,
    preprocessing: ImagePreprocessing = BASE_PREPROCESSING,
    *,
    dtype: torch.dtype | None,
    device: torch.device | str,
) -> ImageEncoder:
    """Load a CLIP vision tower and its image processor; the text tower of a complete CLIP is ignored.

    Raises:
        UserError: a part is missing, damaged or of another kind; names it.
    """
    path = folder / "config.json"
    within = "vision_config" if read_config(path, _Kind).model_type == "clip" else None
    config = read_config(path, ClipConfig, within=within)
    files = TensorFiles(weight_files(folder, "model", "pytorch_model"))
    files.require_layers(config.num_hidden_layers)
    with unfilled():
        model = ClipVision(config)
    others = ("text_model.", "text_projection.", "visual_projection.", "logit_scale")
    files.drop(*[key for key in files if key.startswith(others) or key.endswith("position_ids")])
    prefix = "vision_model." if any(key.startswith("vision_model.") for key in files) else ""
    fill(model, files, {name: (Piece(prefix + name),) for name in model.state_dict()}, dtype=dtype, device=device)
    made = read_config(processor / "preprocessor_config.json", ImageProcessor)
    return ImageEncoder(made, model.eval(), preprocessing)
