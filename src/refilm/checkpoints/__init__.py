"""Weight files and our modules, both ways. Every damage is one `ValueError` that names the file and the key."""

from refilm.checkpoints.adapters import AdapterCard, load_adapter, read_card, save_adapter
from refilm.checkpoints.bases import Base, Defaults, begin_base, load_base, load_encoders
from refilm.checkpoints.diffusers_format import load_schedule, load_transformer, save_schedule, save_transformer
from refilm.checkpoints.fingerprints import base_weights, fingerprint

__all__ = [
    "AdapterCard",
    "Base",
    "Defaults",
    "base_weights",
    "begin_base",
    "fingerprint",
    "load_adapter",
    "load_base",
    "load_encoders",
    "load_schedule",
    "load_transformer",
    "read_card",
    "save_adapter",
    "save_schedule",
    "save_transformer",
]
