"""Loading of CLIP image encoders and their image processors from folders in the layout of transformers."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from refilm.checkpoints.fields import ClipConfig, ClipFields, ImageProcessorFields
from refilm.encoders import Fit, HiddenState, ImageEncoder
from refilm.weights.configs import read_config
from refilm.weights.files import weight_files
from refilm.weights.libraries import bare, clean_folder, tried
from refilm.weights.tensors import Piece, TensorFiles, fill

if TYPE_CHECKING:
    from transformers.image_processing_utils import BaseImageProcessor


def load_image_encoder(
    folder: Path,
    processor: Path,
    *,
    fit: Fit = "pad",
    hidden_state: HiddenState = "last",
    dtype: torch.dtype | None,
    device: torch.device | str,
) -> ImageEncoder:
    """Load a CLIP vision tower and its image processor; the text tower of a complete CLIP is ignored.

    Raises:
        UserError: a part is missing, damaged or of another kind; names it.
    """
    from transformers import CLIPVisionConfig, CLIPVisionModel

    path = folder / "config.json"
    within = "vision_config" if read_config(path, ClipConfig).model_type == "clip" else None
    config = read_config(path, ClipFields, within=within)
    files = TensorFiles(weight_files(folder, "model", "pytorch_model"))
    files.require_layers(config.num_hidden_layers)
    model = bare(folder, lambda: CLIPVisionModel(CLIPVisionConfig(**config.given())))
    others = ("text_model.", "text_projection.", "visual_projection.", "logit_scale")
    files.drop(*[key for key in files if key.startswith(others) or key.endswith("position_ids")])
    prefix = "vision_model." if any(key.startswith("vision_model.") for key in files) else ""
    fill(model, files, {name: (Piece(prefix + name),) for name in model.state_dict()}, dtype=dtype, device=device)
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            assert name == "position_ids"  # the only buffer that is computed
            module.register_buffer(name, torch.arange(buffer.shape[1], device=device)[None], persistent=False)
    return ImageEncoder(load_image_processor(processor), model.eval(), fit=fit, hidden_state=hidden_state)


def load_image_processor(folder: Path) -> "BaseImageProcessor":
    """Load CLIP's image processor.

    Raises:
        UserError: it is missing or damaged, or requires custom code.
    """
    from transformers import AutoImageProcessor

    fields = read_config(folder / "preprocessor_config.json", ImageProcessorFields)
    settings = {"image_processor_type": fields.image_processor_type} | fields.model_dump(
        exclude_unset=True, exclude_none=True
    )
    with clean_folder({"preprocessor_config.json": settings}) as clean:
        load = AutoImageProcessor.from_pretrained
        return tried(folder, lambda: load(clean, local_files_only=True, trust_remote_code=False))
