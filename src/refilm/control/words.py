"""Words of a prompt that mean a subject, as indices of its text tokens."""

import logging
from collections.abc import Sequence

from refilm.control.subject import ARTICLES
from refilm.encoders import TextEncoder
from refilm.errors import UserError
from refilm.printable import printable

logger = logging.getLogger("refilm")


def word_tokens(
    prompt: str, words: Sequence[Sequence[str]], required: Sequence[bool], names: Sequence[str], text: TextEncoder
) -> tuple[tuple[int, ...], ...]:
    """The tokens of each subject's words; empty for a subject that is not bound to words.

    An article is not counted among the words: models attend to it elsewhere than to the noun.

    Args:
        prompt: the prompt.
        words: alternatives for each subject; the first that the prompt contains is used.
        required: for each subject, whether it is an error if the prompt contains none of them; otherwise it is logged.
        names: names of the subjects.
        text: the text encoder.

    Raises:
        UserError: required words are missing, or two subjects have the same words.
    """
    found: list[tuple[int, ...]] = []
    for alternatives, must, name in zip(words, required, names, strict=True):
        places = (text.places(prompt, ARTICLES.sub("", one)) for one in alternatives)
        tokens = next((tuple(p for p in own if p < text.length) for own in places if own), ())
        if alternatives and not tokens:
            message = f"{name}: the prompt {prompt!r:.120} contains none of its words ({', '.join(alternatives)})"
            if must:
                raise UserError(f"{message}; use words of the prompt")
            logger.warning("%s, so it is not bound to words", printable(message))
        if tokens and tokens in found:
            other = names[found.index(tokens)]
            raise UserError(f"{other} and {name} are bound to the same words; give each its own, or masks instead")
        found.append(tokens)
    return tuple(found)
