"""Notes about prompts outside the domain of a base model, reported once before generation."""

from collections.abc import Iterator

from refilm.checkpoints import Base


def domain_notes(base: Base, prompt: str) -> Iterator[str]:
    """Yield one line per problem; nothing if the base model's folder declares no domain."""
    domain = base.defaults.domain
    if domain is not None and (unknown := domain.unknown_words(prompt)):
        words = ", ".join(map(repr, unknown))
        yield f"this base model was trained only on {domain.subject}; its captions do not contain the words {words}"
