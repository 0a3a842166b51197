"""The parts of a base model besides its transformer, loaded from folders in the layout of transformers and diffusers.

Each part is created on the meta device and then filled from its files, so that it is in memory only once and all parts
report damaged files in the same way.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, T5Config, T5EncoderModel

from refilm.arguments import checked
from refilm.checkpoints.fields import AutoencoderFields, ClipConfig, ClipFields, T5Fields
from refilm.checkpoints.processors import load_image_processor, load_tokenizer, tried
from refilm.encoders import Fit, HiddenState, ImageEncoder, TextEncoder
from refilm.weights.configs import read_config
from refilm.weights.files import weight_files
from refilm.weights.tensors import Piece, TensorFiles, fill

_TRANSFORMERS = ("model", "pytorch_model")
_EMBEDDING = ("shared.weight", "encoder.embed_tokens.weight")  # one tensor; files use either name or both


def load_text_encoder(
    folder: Path, tokenizer: Path, *, length: int, dtype: torch.dtype | None, device: torch.device | str
) -> TextEncoder:
    """Load a T5 encoder and its tokenizer; the decoder of a complete T5 is ignored.

    Raises:
        ValueError: a part is missing, damaged or of another kind; names it.
    """
    config = read_config(folder / "config.json", T5Fields)
    files = TensorFiles(weight_files(folder, *_TRANSFORMERS))
    files.require_layers(config.num_layers)
    model = _bare(folder, lambda: T5EncoderModel(T5Config(**config.given())))
    files.drop(*[key for key in files if key.startswith(("decoder.", "lm_head."))])
    here = [key for key in _EMBEDDING if key in files] or [_EMBEDDING[0]]
    files.drop(*here[1:])
    layout = {name: (Piece(here[0] if name in _EMBEDDING else name),) for name in model.state_dict()}
    # transformers keeps these in float32, because they overflow in half precision
    wide = [name for name in layout if ".wo." in name]
    exact = dict.fromkeys(wide, torch.float32) if dtype == torch.float16 else None
    fill(model, files, layout, dtype=dtype, device=device, exact=exact)
    model.tie_weights()  # `fill` reads the embedding once; this makes it one parameter
    return TextEncoder(load_tokenizer(tokenizer, words=config.vocab_size), model.eval(), length)


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
        ValueError: a part is missing, damaged or of another kind; names it.
    """
    path = folder / "config.json"
    within = "vision_config" if read_config(path, ClipConfig).model_type == "clip" else None
    config = read_config(path, ClipFields, within=within)
    files = TensorFiles(weight_files(folder, *_TRANSFORMERS))
    files.require_layers(config.num_hidden_layers)
    model = _bare(folder, lambda: CLIPVisionModel(CLIPVisionConfig(**config.given())))
    others = ("text_model.", "text_projection.", "visual_projection.", "logit_scale")
    files.drop(*[key for key in files if key.startswith(others) or key.endswith("position_ids")])
    prefix = "vision_model." if any(key.startswith("vision_model.") for key in files) else ""
    fill(model, files, {name: (Piece(prefix + name),) for name in model.state_dict()}, dtype=dtype, device=device)
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            assert name == "position_ids"  # the only buffer that is computed
            module.register_buffer(name, torch.arange(buffer.shape[1], device=device)[None], persistent=False)
    return ImageEncoder(load_image_processor(processor), model.eval(), fit=fit, hidden_state=hidden_state)


@checked
def load_autoencoder(
    folder: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> AutoencoderKLCogVideoX:
    """Load CogVideoX's autoencoder.

    Raises:
        ValueError: a part is missing, damaged or of another kind; names it.
    """
    config = read_config(folder / "config.json", AutoencoderFields)
    files = TensorFiles(weight_files(folder, "diffusion_pytorch_model"))
    files.require_layers(config.layers_per_block)
    model = _bare(folder, lambda: AutoencoderKLCogVideoX.from_config(config.given()))
    fill(model, files, {name: (Piece(name),) for name in model.state_dict()}, dtype=dtype, device=device)
    return model.eval()


def _bare(folder: Path, make: Callable[[], Any]) -> Any:
    """Create a module on the meta device, without memory for its weights."""
    with torch.device("meta"):
        module = tried(folder, make)
    assert isinstance(module, nn.Module)
    return module
