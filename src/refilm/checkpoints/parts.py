"""A base model's parts beside its transformer, from folders as transformers and diffusers write them.

Each is built without memory and then filled from its files, so that memory holds it once and every damage is named
alike. Knows which folders there are, not where they come from.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX
from torch import nn
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedTokenizerBase,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from refilm.checkpoints.tensors import Piece, TensorFiles, fill, weight_files
from refilm.encoders import Fit, HiddenState, ImageEncoder, TextEncoder
from refilm.files import read_json

_TRANSFORMERS = ("model", "pytorch_model")
_EMBEDDING = ("shared.weight", "encoder.embed_tokens.weight")  # one tensor, which files call by either name or both


def load_text_encoder(
    folder: Path, tokenizer: Path, *, length: int, dtype: torch.dtype | None, device: torch.device | str
) -> TextEncoder:
    """Read a T5 encoder and its tokenizer; of a whole T5 the decoder is passed over.

    Raises:
        ValueError: a part is missing, damaged or of another kind; names it.
    """
    _check_kind(folder, "t5")
    model = _bare(lambda: T5EncoderModel(_read(T5Config, folder)))
    files = TensorFiles(weight_files(folder, *_TRANSFORMERS))
    files.drop(*[key for key in files if key.startswith(("decoder.", "lm_head."))])
    here = [key for key in _EMBEDDING if key in files] or [_EMBEDDING[0]]
    files.drop(*here[1:])
    layout = {name: (Piece(here[0] if name in _EMBEDDING else name),) for name in model.state_dict()}
    wide = [name for name in layout if ".wo." in name]  # they overflow in half precision, so transformers keeps them
    exact = dict.fromkeys(wide, torch.float32) if dtype == torch.float16 else None
    fill(model, files, layout, dtype=dtype, device=device, exact=exact)
    model.tie_weights()  # `fill` read the embedding once; make it one parameter as well
    return TextEncoder(load_tokenizer(tokenizer), model.eval(), length)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Read a T5 tokenizer alone.

    Raises:
        ValueError: it is missing or damaged.
    """
    kind = AutoTokenizer if (folder / "tokenizer_config.json").is_file() else T5Tokenizer  # a bare spiece.model
    return _read(kind, folder)


def load_image_encoder(
    folder: Path,
    processor: Path,
    *,
    fit: Fit = "pad",
    hidden_state: HiddenState = "last",
    dtype: torch.dtype | None,
    device: torch.device | str,
) -> ImageEncoder:
    """Read a CLIP vision tower and its image processor; of a whole CLIP the text tower is passed over.

    Raises:
        ValueError: a part is missing, damaged or of another kind; names it.
    """
    _check_kind(folder, "clip", "clip_vision_model")
    model = _bare(lambda: CLIPVisionModel(_read(CLIPVisionConfig, folder)))
    files = TensorFiles(weight_files(folder, *_TRANSFORMERS))
    others = ("text_model.", "text_projection.", "visual_projection.", "logit_scale")
    files.drop(*[key for key in files if key.startswith(others) or key.endswith("position_ids")])
    prefix = "vision_model." if any(key.startswith("vision_model.") for key in files) else ""
    fill(model, files, {name: (Piece(prefix + name),) for name in model.state_dict()}, dtype=dtype, device=device)
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            assert name == "position_ids"  # the only one that is computed, not stored
            module.register_buffer(name, torch.arange(buffer.shape[1], device=device)[None], persistent=False)
    return ImageEncoder(_read(AutoImageProcessor, processor), model.eval(), fit=fit, hidden_state=hidden_state)


def load_autoencoder(
    folder: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> AutoencoderKLCogVideoX:
    """Read CogVideoX's autoencoder.

    Raises:
        ValueError: a part is missing, damaged or of another kind; names it.
    """
    config = read_json(folder / "config.json")
    kind = config.get("_class_name", "AutoencoderKLCogVideoX")
    if kind != "AutoencoderKLCogVideoX":
        raise ValueError(f"{folder / 'config.json'}: of a {kind}; refilm reads AutoencoderKLCogVideoX")
    model = _bare(lambda: _tried(folder, lambda: AutoencoderKLCogVideoX.from_config(config)))
    files = TensorFiles(weight_files(folder, "diffusion_pytorch_model"))
    fill(model, files, {name: (Piece(name),) for name in model.state_dict()}, dtype=dtype, device=device)
    return model.eval()


def _bare(make: Callable[[], Any]) -> Any:
    """A module without memory for its weights."""
    with torch.device("meta"):
        module = make()
    assert isinstance(module, nn.Module)
    return module


def _check_kind(folder: Path, *kinds: str) -> None:
    path = folder / "config.json"
    kind = read_json(path).get("model_type")
    if kind not in kinds:
        raise ValueError(f"{path}: model_type: must be {' or '.join(kinds)} (received {kind!r})")


def _read(kind: Any, folder: Path) -> Any:
    return _tried(folder, lambda: kind.from_pretrained(folder, local_files_only=True))


def _tried(folder: Path, load: Callable[[], Any]) -> Any:
    """What other libraries read, their complaints turned into one that names the folder."""
    try:
        return load()
    except Exception as error:  # of any kind: a damaged JSON shows as KeyError, TypeError, ...
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{folder}: cannot be loaded: {reason[0]}") from error
