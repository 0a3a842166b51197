"""Generation: a prompt and a reference picture become a video."""

from refilm.generation.pipeline import Pipeline, load
from refilm.generation.request import Request

__all__ = ["Pipeline", "Request", "load"]
