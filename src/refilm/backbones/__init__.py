"""Model families: each is a folder here and a name in `table.NAMES`, through which the rest of refilm reaches it."""

from refilm.backbones.family import Family, NativeFile, NativeFormat, Source
from refilm.backbones.sizes import BackboneSize
from refilm.backbones.table import (
    families,
    family,
    family_in,
    family_name,
    family_of,
    native_format,
    native_formats,
)

__all__ = [
    "BackboneSize",
    "Family",
    "NativeFile",
    "NativeFormat",
    "Source",
    "families",
    "family",
    "family_in",
    "family_name",
    "family_of",
    "native_format",
    "native_formats",
]
