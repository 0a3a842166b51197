"""Data sets: the examples of users, and critters, the built-in set."""

from refilm.data.examples import Example, Reference
from refilm.data.manifest import list_examples, read_examples, write_manifest

__all__ = ["Example", "Reference", "list_examples", "read_examples", "write_manifest"]
