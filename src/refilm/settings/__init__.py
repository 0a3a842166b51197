"""Typed, strict settings. Values are validated when a settings object is created.

Type, range, default and sentence of a setting are declared once, in its class; errors, the options of commands,
templates of recipes and the documentation are made from them. This package contains no settings itself: each package
declares its own by deriving from `Settings`.
"""

from refilm.settings.base import Seed, Settings, optional, read_toml, renamed, shared
from refilm.settings.described import DefaultsFrom
from refilm.settings.names import explain, meant, names_of
from refilm.settings.step_range import StepRange

__all__ = [
    "DefaultsFrom",
    "Seed",
    "Settings",
    "StepRange",
    "explain",
    "meant",
    "names_of",
    "optional",
    "read_toml",
    "renamed",
    "shared",
]
