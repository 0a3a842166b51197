"""What a base model cannot know of what it is asked for: said once, before a video of nothing is taken for a fault."""

from collections.abc import Iterator

from refilm.checkpoints import Base


def doubts(base: Base, prompt: str) -> Iterator[str]:
    """What is strange to the base model, a line each; nothing where its folder declares no domain."""
    domain = base.defaults.domain
    if domain is not None and (strange := domain.strange_words(prompt)):
        words = ", ".join(map(repr, strange))
        yield f"this base model knows only {domain.subject}; no caption that it learned from had the words {words}"
