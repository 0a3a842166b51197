"""Names that settings of several parts choose from."""

from typing import Literal

SamplerName = Literal["dpmpp-2m-sde", "ddim", "euler", "unipc", "sat"]
"""Samplers, see `refilm.diffusion.SAMPLERS`."""
