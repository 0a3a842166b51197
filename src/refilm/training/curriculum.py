"""A curriculum: what is learned first and what later, as lessons in a row."""

from collections.abc import Sequence
from typing import TypeVar

from refilm.settings import Settings


class Lesson(Settings):
    """A part of a curriculum."""

    until: int
    """The step at which the lesson ends; the last one lasts as long as the run."""


AnyLesson = TypeVar("AnyLesson", bound=Lesson)


def lesson_at(curriculum: Sequence[AnyLesson], step: int) -> AnyLesson:
    """The lesson of a step.

    Raises:
        ValueError: there are no lessons.
    """
    if not curriculum:
        raise ValueError("the curriculum is empty: give it at least one lesson")
    return next((lesson for lesson in curriculum if step < lesson.until), curriculum[-1])
