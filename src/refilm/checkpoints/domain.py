"""The training domain that a base model's folder can declare, used to report unknown words in prompts.

CogVideoX declares none because its domain is open. This module does not read the declaration from files.
"""

import re

from refilm.settings import Settings

WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")


class Domain(Settings):
    """The training domain of a model."""

    subject: str
    """A short description of the subjects of its clips."""
    words: tuple[str, ...]
    """All words of its captions, in lower case."""

    def unknown_words(self, prompt: str) -> tuple[str, ...]:
        """The words of a prompt that no training caption contains, in order, without duplicates."""
        return tuple(dict.fromkeys(word for word in words_of(prompt) if word not in self.words))


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation and numbers."""
    return WORD.findall(text.lower())
