"""A curriculum: consecutive lessons with their own batch sizes. Samples are numbered through all lessons."""

from collections.abc import Sequence
from typing import TypeVar

from refilm.errors import UserError
from refilm.training.settings import Lesson

AnyLesson = TypeVar("AnyLesson", bound=Lesson)


def lesson_at(curriculum: Sequence[AnyLesson], step: int) -> AnyLesson:
    """The lesson of a step.

    Raises:
        UserError: there are no lessons.
    """
    if not curriculum:
        raise UserError("the curriculum is empty: give it at least one lesson")
    return next((lesson for lesson in curriculum if step < lesson.until), curriculum[-1])


def samples_at(curriculum: Sequence[Lesson], step: int) -> range:
    """The numbers of a step's samples; the first step starts at 0.

    Raises:
        UserError: there are no lessons.
    """
    first, started = 0, 0
    for lesson in curriculum[:-1]:
        ended = max(started, min(step, lesson.until))
        first += (ended - started) * lesson.batch
        started = ended
    lesson = lesson_at(curriculum, step)
    first += (step - started) * lesson.batch
    return range(first, first + lesson.batch)
