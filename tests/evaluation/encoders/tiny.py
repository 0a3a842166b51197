"""Tiny random encoders in the format of transformers, which read real sizes of images."""

import json
from pathlib import Path

import torch
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTokenizer,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTModel,
)

TINY = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = [*LETTERS, *(f"{one}</w>" for one in LETTERS), "<|startoftext|>", "<|endoftext|>"]


def _save(model: torch.nn.Module, folder: Path) -> Path:
    torch.manual_seed(0)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder)
    return folder


def clip(folder: Path, *, width: int = 12) -> Path:
    """A CLIP that knows letters; `width` is that of the common space."""
    numbers = {"vocab_size": len(WORDS), "bos_token_id": len(WORDS) - 2, "eos_token_id": len(WORDS) - 1}
    text = CLIPTextConfig(**TINY, **numbers, max_position_embeddings=77)
    vision = CLIPVisionConfig(**TINY, image_size=224, patch_size=32)
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=width)
    _save(CLIPModel(config), folder)
    CLIPTokenizer({word: number for number, word in enumerate(WORDS)}, []).save_pretrained(folder)
    return folder


def dino(folder: Path) -> Path:
    """A DINO."""
    return _save(ViTModel(ViTConfig(**TINY, image_size=224, patch_size=32), add_pooling_layer=False), folder)


def dinov2(folder: Path) -> Path:
    """A DINOv2, whose position embeddings are for another size than its images, as in the published ones."""
    sizes = {name: size for name, size in TINY.items() if name != "intermediate_size"}
    return _save(Dinov2Model(Dinov2Config(**sizes, image_size=84, patch_size=28)), folder)


def changed(folder: Path, **values: object) -> Path:
    """The same folder with other values in `config.json`."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return folder
