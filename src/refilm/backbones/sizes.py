"""The sizes of every family, as the type of a setting."""

from refilm.backbones.cogvideox.sizes import TransformerSize
from refilm.backbones.wan.sizes import WanSize

BackboneSize = TransformerSize | WanSize
"""The union of all families' sizes."""
