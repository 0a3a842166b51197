"""Files and folders: written whole or not at all, read as UTF-8, hashed, linked, locked.

Crash safety is decided here alone. What is written goes to a hidden workplace beside its target, reaches the disk,
and takes its name by one rename. Knows nothing of what the files mean.
"""

from refilm.files.atomic import atomic_file, atomic_folder, write_bytes
from refilm.files.errors import describe
from refilm.files.places import link_or_copy, require_empty, require_writable, sha256_of
from refilm.files.text import read_json, read_text, write_json, write_text
from refilm.files.workplaces import locked, remove_abandoned

__all__ = [
    "atomic_file",
    "atomic_folder",
    "describe",
    "link_or_copy",
    "locked",
    "read_json",
    "read_text",
    "remove_abandoned",
    "require_empty",
    "require_writable",
    "sha256_of",
    "write_bytes",
    "write_json",
    "write_text",
]
