"""Data sets: the examples of users, and critters, the built-in set."""

from refilm.data.manifest import (
    Example,
    Reference,
    load_example,
    read_examples,
    read_folder,
    read_manifest,
    write_manifest,
)

__all__ = ["Example", "Reference", "load_example", "read_examples", "read_folder", "read_manifest", "write_manifest"]
