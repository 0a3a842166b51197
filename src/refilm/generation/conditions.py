"""The conditions of a generation: prompts, references and the null conditions of guidance, encoded once per video.

Nothing here runs again during sampling: neither the encoders, nor the projection, nor keys and values of references.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import torch
from pydantic import PlainValidator
from torch import Tensor

from refilm.checkpoints import Base
from refilm.control import ImageLike, Subject
from refilm.control.directing import Cast, Direction, direct
from refilm.control.encoded import EncodedSubject, encode_subject, identity_of, require_reader
from refilm.control.shot import Shot
from refilm.control.subject import AnyImage
from refilm.control.subject_files import load_subject
from refilm.control.words import word_tokens
from refilm.diffusion import Condition, null_condition
from refilm.errors import UserError
from refilm.generation.encodings import Encodings
from refilm.generation.request import Request
from refilm.model import Adapter, References, require_finite

logger = logging.getLogger("refilm")

Reference = Annotated[
    AnyImage | Subject | Sequence[AnyImage] | Sequence[Subject],
    PlainValidator(lambda value: value),  # see `subjects_of`
]
"""The reference of a video: an image, several images of one subject, a subject, or several subjects."""


@dataclass(frozen=True, eq=False)
class Conditions:
    """The conditions of a batch of videos."""

    conditional: Condition
    unconditional: Condition
    words: tuple[tuple[tuple[int, ...], ...], ...] | None
    """For each video and subject the indices of the text tokens that bind it; None: no subject is bound to words."""
    casts: Sequence[Cast] = ()
    """The subjects of each video; empty: they have none, or the references were given as tensors."""
    negative: Cast = ()
    """The subjects of the negative reference."""


def subjects_of(reference: object) -> tuple[Subject, ...]:
    """The subjects that a reference stands for; images without a name are views of one subject.

    Raises:
        UserError: images and subjects are mixed, or two subjects have the same name.
    """
    if reference is None:
        return ()
    if not isinstance(reference, list | tuple):
        return (reference,) if isinstance(reference, Subject) else (Subject.of(images=(reference,)),)
    subjects = tuple(one for one in reference if isinstance(one, Subject))
    if not subjects:
        return (Subject.of(images=tuple(reference)),) if reference else ()
    if len(subjects) < len(reference):
        raise UserError("references: give images of one subject, or Subject objects, but not both in one list")
    names = [one.name for one in subjects]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UserError(f"references: two subjects are named {repeated[0]!r}; give each its own name")
    return subjects


def images_of(subject: Subject) -> list[ImageLike]:
    """The images of a subject. A subject file stores only the first, as a thumbnail.

    Raises:
        UserError: the file cannot be read.
    """
    return [load_subject(subject.file).thumbnail] if subject.file is not None else [*subject.images]


def shot_of(base: Base, request: Request) -> Shot:
    """The sizes of a request's video."""
    sizes = {name: getattr(request, name) for name in ("frames", "height", "width", "steps")}
    return Shot(base.size, base.compression, base.defaults.fps, **sizes)


class Conditioner:
    """Encodes the conditions of a pipeline's videos.

    Args:
        base: the base model.
        adapter: its adapter, if any.
        encodings: of earlier videos.
    """

    def __init__(self, base: Base, adapter: Adapter | None, encodings: Encodings | None = None):
        self.base, self.adapter = base, adapter
        self.encodings = Encodings() if encodings is None else encodings

    @torch.no_grad()
    def conditions(
        self,
        prompts: Sequence[str] | Tensor,
        references: Sequence[Reference | None] | Tensor | References,
        request: Request,
        *,
        negative_reference: Reference | None = None,
    ) -> Conditions:
        """The conditional and the unconditional condition of a batch.

        Raises:
            UserError: an image, a subject or a prompt is invalid.
            NotFiniteError: an encoder's output exceeds the range of the dtype.
        """
        casts, direction = None, None
        if isinstance(references, References | Tensor):
            direction = self._given(references)
        elif casts := self.casts(references):
            direction = self._direction(casts, request)
        negative = self._negative(negative_reference, request)
        against = self._direction([negative], request) if negative else None
        text = self._placed(prompts) if isinstance(prompts, Tensor) else self._text(prompts)
        conditional = self._condition(text, direction, request)
        unconditional = null_condition(request.sampler, conditional, text=self._null_text(prompts, request))
        if against is not None:
            unconditional = self._condition(unconditional.text, against, request)
        words = None if casts is None else self._words(prompts, casts)
        if isinstance(references, References):  # the caller's, which may need autocast or weights in other processes
            return Conditions(conditional, unconditional, words)
        prepared = self._prepared(conditional), self._prepared(unconditional)
        return Conditions(*prepared, words, casts or (), negative)

    def casts(self, references: Sequence[Reference | None]) -> list[Cast] | None:
        """The subjects of each video, encoded; None if no video has any. A subject of several videos is encoded once.

        Raises:
            UserError: only some videos have a reference, or a subject cannot be read or is for another image encoder.
        """
        subjects = [subjects_of(one) for one in references]
        if not any(subjects):
            return None
        if not all(subjects):
            raise UserError("a batch needs a reference for every prompt or for none; split it into two batches")
        if self.adapter is None:
            raise UserError("a reference was given, but no adapter is loaded: load one with adapter=...")
        return [[(subject, self.encoded(subject)) for subject in cast] for cast in subjects]

    def encoded(self, subject: Subject) -> EncodedSubject:
        """A subject's tokens, from its images or its file.

        Raises:
            UserError: it cannot be read, or its file was made with another image encoder.
        """
        if subject.file is not None:
            stored = load_subject(subject.file)
            require_reader(stored, self.base, name=str(subject.file))
            return stored

        def encode() -> EncodedSubject:
            made = encode_subject(subject, self.base.encoders.image)
            require_finite(made.tokens, maker="the image encoder")
            return made

        return self.encodings.kept(identity_of(subject), encode)

    def _direction(self, casts: Sequence[Cast], request: Request) -> Direction:
        assert self.adapter is not None
        shot = shot_of(self.base, request)
        return direct(casts, self.adapter, shot, place=self._placed, binding=request.binding)

    def _negative(self, negative_reference: Reference | None, request: Request) -> Cast:
        casts = self.casts([negative_reference])
        if casts is None:
            return ()
        if named := [subject.name for subject, _ in casts[0] if subject.words]:
            raise UserError(f"negative_reference: {named[0]}: words do not bind it; remove them, or give it a mask")
        if not request.reference_scale:
            logger.warning("negative_reference has no effect: reference_scale is 0, which disables all references")
        return casts[0]

    def _given(self, references: Tensor | References) -> Direction:
        if self.adapter is None:
            raise UserError("a reference was given, but no adapter is loaded: load one with adapter=...")
        if isinstance(references, References):
            return Direction(replace(references, tokens=self._placed(references.tokens)), None)
        return Direction(self.adapter.references(self._placed(references)), None)

    def _condition(self, text: Tensor, direction: Direction | None, request: Request) -> Condition:
        """A condition with the reference scale of the request; at 0 there are no references."""
        if direction is None or not request.reference_scale:
            return Condition(text)
        references, scale = direction.references, request.reference_scale
        return Condition(text, references if scale == 1 else references.scaled(scale), direction.strength)

    def _prepared(self, condition: Condition) -> Condition:
        if condition.references is None:
            return condition
        assert self.adapter is not None
        return replace(condition, references=self.adapter.prepared(condition.references))

    def _words(
        self, prompts: Sequence[str] | Tensor, casts: Sequence[Cast]
    ) -> tuple[tuple[tuple[int, ...], ...], ...] | None:
        if isinstance(prompts, Tensor):
            pairs = [pair for cast in casts for pair in cast]
            if named := [subject.name for subject, _ in pairs if subject.words]:
                raise UserError(f"{named[0]}: words bind a subject in a prompt's text, but the prompt is an embedding")
            for name in (subject.name for subject, encoded in pairs if encoded.card.words):
                logger.warning("%s: the prompt is an embedding, so the words of the subject file do not bind it", name)
            return None
        found = tuple(self._words_of(prompt, cast) for prompt, cast in zip(prompts, casts, strict=True))
        return found if any(any(own) for own in found) else None

    def _words_of(self, prompt: str, cast: Cast) -> tuple[tuple[int, ...], ...]:
        words = tuple(subject.words or encoded.card.words for subject, encoded in cast)
        if not any(words):
            return ((),) * len(cast)
        required = tuple(bool(subject.words) for subject, _ in cast)
        names = tuple(subject.name for subject, _ in cast)
        return self.encodings.kept(
            ("words", prompt, words, required, names),
            lambda: word_tokens(prompt, words, required, names, self.base.encoders.text),
        )

    def _null_text(self, prompts: Sequence[str] | Tensor, request: Request) -> Tensor | None:
        """The embedding that guidance moves away from; None for zeros, where no text encoder has been needed so far."""
        if request.negative_prompt is not None:
            return self._text([request.negative_prompt])
        if isinstance(prompts, Tensor):
            return None
        return self.encodings.kept("dropped", lambda: self.base.encoders.text.dropped(1))

    def _placed(self, embeddings: Tensor) -> Tensor:
        return embeddings.to(self.base.device, self.base.dtype)

    def _text(self, prompts: Sequence[str]) -> Tensor:
        """(B, L, D); one by one, so that a prompt's embedding does not depend on the other prompts."""
        return torch.cat([self.encodings.kept(("text", prompt), partial(self._encoded, prompt)) for prompt in prompts])

    def _encoded(self, prompt: str) -> Tensor:
        return require_finite(self.base.encoders.text([prompt]), maker="the text encoder")
