"""Generation of videos from prompts and reference images."""

from typing import TYPE_CHECKING

from refilm.lazy import attributes

if TYPE_CHECKING:
    from refilm.generation.attention_maps import AttentionMaps
    from refilm.generation.calibrating import calibrate
    from refilm.generation.loading import load
    from refilm.generation.pipeline import Pipeline
    from refilm.generation.request import Request

__all__ = ["AttentionMaps", "Pipeline", "Request", "calibrate", "load"]
_MODULES = {
    "AttentionMaps": "attention_maps",
    "Pipeline": "pipeline",
    "Request": "request",
    "calibrate": "calibrating",
    "load": "loading",
}
__getattr__ = attributes(__name__, {name: f"refilm.generation.{module}" for name, module in _MODULES.items()})
