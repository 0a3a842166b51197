"""The sizes of every family, as the type of a setting."""

from refilm.backbones.cogvideox.sizes import TransformerSize

BackboneSize = TransformerSize
"""The union of all families' sizes."""
