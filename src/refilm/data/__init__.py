"""Data sets: users' own clips, and critters, the built-in data set."""

from refilm.data.examples import Example, Reference
from refilm.data.manifest import list_examples, read_examples, write_manifest

__all__ = ["Example", "Reference", "list_examples", "read_examples", "write_manifest"]
