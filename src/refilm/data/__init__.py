"""Data sets: users' own clips, and critters, the built-in data set."""

from typing import TYPE_CHECKING

from refilm.lazy import attributes

if TYPE_CHECKING:
    from refilm.data.examples import Example, Reference
    from refilm.data.manifest import list_examples, read_examples, write_manifest

__all__ = ["Example", "Reference", "list_examples", "read_examples", "write_manifest"]

__getattr__ = attributes(
    __name__,
    {
        **dict.fromkeys(("Example", "Reference"), "refilm.data.examples"),
        **dict.fromkeys(("list_examples", "read_examples", "write_manifest"), "refilm.data.manifest"),
    },
)
