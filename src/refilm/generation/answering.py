"""What people who know diffusers try on a pipeline is answered with what does it here."""

from typing import TYPE_CHECKING, NoReturn

from refilm.names import SENTENCES, known_elsewhere


class Answering:
    """Has no attributes of its own, and says of those that diffusers' pipelines have what takes their place."""

    if not TYPE_CHECKING:  # which would then find every attribute

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(known_elsewhere(name) or f"{type(self).__name__!r} object has no attribute {name!r}")

    def __call__(self, *given: object, **named: object) -> NoReturn:
        raise TypeError(SENTENCES["__call__"])

    @classmethod
    def from_pretrained(cls, *given: object, **named: object) -> NoReturn:
        """Is called `refilm.load` here, and says so."""
        raise TypeError(known_elsewhere("from_pretrained"))
