"""What a base model was trained on, where its folder declares it: words and images that are strange to it are named.

CogVideoX declares nothing, for it has seen nearly everything. Knows nothing of where the declaration came from.
"""

import re

from refilm.settings import Settings

WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")


class Domain(Settings):
    """All that a model has seen; what it has not, it cannot make."""

    subject: str
    """What its clips show, in a word or a few."""
    words: tuple[str, ...]
    """All words of its captions, in small letters."""

    def strange_words(self, prompt: str) -> tuple[str, ...]:
        """The words of a prompt that no caption had, in their order, each once."""
        return tuple(dict.fromkeys(word for word in words_of(prompt) if word not in self.words))


def words_of(text: str) -> list[str]:
    """The words of a text in small letters, without punctuation and numbers."""
    return WORD.findall(text.lower())
