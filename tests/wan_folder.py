"""A tiny Wan pipeline with random weights, as diffusers makes and saves it: every part, and no sense."""

import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from transformers import UMT5Config, UMT5EncoderModel

from refilm.checkpoints import Defaults
from refilm.pocket.contrastive import EncodersSettings, train_tokenizer

from .model.tiny import wild


def make_wan(folder: Path) -> WanPipeline:
    """The pipeline; its tokenizer is trained in `folder`."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(folder, EncodersSettings())
    text = UMT5Config(vocab_size=len(tokenizer), d_model=24, d_kv=12, d_ff=48, num_layers=2, num_heads=2)
    vae = AutoencoderKLWan(
        base_dim=4, z_dim=4, num_res_blocks=1, latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.5, 0.8, 1.0, 2.0]
    )
    transformer = WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=24, in_channels=4, out_channels=4, text_dim=24, freq_dim=16,
        ffn_dim=48, num_layers=2,
    )  # fmt: skip
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    return WanPipeline(
        tokenizer=tokenizer,
        text_encoder=UMT5EncoderModel(text).eval(),
        vae=vae,
        transformer=wild(transformer),
        scheduler=scheduler,
    )


def make_wan_base(folder: Path, images_from: Path) -> Path:
    """Write a complete base model: the pipeline, defaults of small videos, and the image encoder of another base."""
    make_wan(folder.with_name("tokenizer")).save_pretrained(folder)
    for part in ("image_encoder", "image_processor"):
        shutil.copytree(images_from / part, folder / part)
    defaults = Defaults(fps=16.0, frames=17, height=32, width=32, steps=4, guidance=3.0, sampler="unipc")
    (folder / "refilm.json").write_text(defaults.model_dump_json(exclude_none=True))
    return folder
