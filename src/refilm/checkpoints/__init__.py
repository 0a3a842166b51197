"""Loading and saving of weights. Damaged files raise a `UserError` that names the file and the key."""

from refilm.checkpoints.adapters import (
    AdapterCard,
    adapter_files,
    adapter_folder,
    add_facts,
    load_adapter,
    read_card,
    require_family,
    save_adapter,
)
from refilm.checkpoints.attaching import attach_adapter, read_images_for
from refilm.checkpoints.bases import Base, Memory, load_base, load_encoders
from refilm.checkpoints.conversions import Conversion, convert
from refilm.checkpoints.defaults import Defaults, create_base
from refilm.checkpoints.denoisers import Denoiser, load_denoiser
from refilm.checkpoints.descriptions import Description, describe
from refilm.checkpoints.lora import LoraSettings, TunedAdapter
from refilm.checkpoints.magnitudes import MAGNITUDES, load_magnitudes, save_magnitudes
from refilm.checkpoints.sources import copy_base, image_encoder_of, open_source, whole_base
from refilm.checkpoints.transformers import load_transformer, save_transformer
from refilm.hub import push
from refilm.weights.fingerprints import base_weights, fingerprint

__all__ = [
    "MAGNITUDES",
    "AdapterCard",
    "Base",
    "Conversion",
    "Defaults",
    "Denoiser",
    "Description",
    "LoraSettings",
    "Memory",
    "TunedAdapter",
    "adapter_files",
    "adapter_folder",
    "add_facts",
    "attach_adapter",
    "base_weights",
    "convert",
    "copy_base",
    "create_base",
    "describe",
    "fingerprint",
    "image_encoder_of",
    "load_adapter",
    "load_base",
    "load_denoiser",
    "load_encoders",
    "load_magnitudes",
    "load_transformer",
    "open_source",
    "push",
    "read_card",
    "read_images_for",
    "require_family",
    "save_adapter",
    "save_magnitudes",
    "save_transformer",
    "whole_base",
]
