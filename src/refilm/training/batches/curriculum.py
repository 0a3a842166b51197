"""A curriculum: what is learned first and what later, as lessons in a row. Samples are numbered through all of them."""

from collections.abc import Sequence
from typing import TypeVar

from pydantic import Field

from refilm.settings import Settings


class Lesson(Settings):
    """A part of a curriculum."""

    until: int = Field(ge=1)
    """The step at which the lesson ends; the last one lasts as long as the run."""
    batch: int = Field(ge=1, le=10**6)
    """Samples a step, over all processes together."""


AnyLesson = TypeVar("AnyLesson", bound=Lesson)


def lesson_at(curriculum: Sequence[AnyLesson], step: int) -> AnyLesson:
    """The lesson of a step.

    Raises:
        ValueError: there are no lessons.
    """
    if not curriculum:
        raise ValueError("the curriculum is empty: give it at least one lesson")
    return next((lesson for lesson in curriculum if step < lesson.until), curriculum[-1])


def samples_at(curriculum: Sequence[Lesson], step: int) -> range:
    """The numbers of a step's samples; the first step begins with 0.

    Raises:
        ValueError: there are no lessons.
    """
    first, begun = 0, 0
    for lesson in curriculum[:-1]:
        ended = max(begun, min(step, lesson.until))
        first += (ended - begun) * lesson.batch
        begun = ended
    lesson = lesson_at(curriculum, step)
    first += (step - begun) * lesson.batch
    return range(first, first + lesson.batch)
