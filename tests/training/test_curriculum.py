import pytest

from refilm.training.curriculum import Lesson, lesson_at


def test_lessons_follow_each_other_and_the_last_one_lasts():
    first, last = Lesson(until=10), Lesson(until=20)
    assert [lesson_at((first, last), step) for step in (0, 9, 10, 19, 20, 10**6)] == [
        first,
        first,
        last,
        last,
        last,
        last,
    ]


def test_a_curriculum_without_lessons_is_refused():
    with pytest.raises(ValueError, match="the curriculum is empty"):
        lesson_at((), 0)
