"""Files and folders: atomic writes, UTF-8 text and JSON, hashes, links and locks.

This is the only place that implements crash safety: content is written to a hidden temporary folder beside its
target, flushed to the disk, and moved into place with one rename. The package does not depend on what the files
contain.
"""

from refilm.files.atomic import atomic_file, atomic_folder, write_bytes
from refilm.files.errors import describe, system_errors
from refilm.files.places import link_or_copy, require_empty, require_writable, sha256_of
from refilm.files.temporary import locked, remove_abandoned, remove_unfinished
from refilm.files.text import read_json, read_text, write_json, write_text

__all__ = [
    "atomic_file",
    "atomic_folder",
    "describe",
    "link_or_copy",
    "locked",
    "read_json",
    "read_text",
    "remove_abandoned",
    "remove_unfinished",
    "require_empty",
    "require_writable",
    "sha256_of",
    "system_errors",
    "write_bytes",
    "write_json",
    "write_text",
]
