"""Error messages for names of diffusers' pipelines, with the refilm equivalent."""

from typing import TYPE_CHECKING, NoReturn

from refilm.names import HINTS, known_elsewhere


class DiffusersHints:
    """Base class whose errors for attributes of diffusers' pipelines name the refilm equivalent."""

    if not TYPE_CHECKING:  # a type checker would accept any attribute

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(known_elsewhere(name) or f"{type(self).__name__!r} object has no attribute {name!r}")

    def __call__(self, *given: object, **named: object) -> NoReturn:
        raise TypeError(HINTS["__call__"])

    @classmethod
    def from_pretrained(cls, *given: object, **named: object) -> NoReturn:
        """Raise an error that names `refilm.load`."""
        raise TypeError(known_elsewhere("from_pretrained"))
