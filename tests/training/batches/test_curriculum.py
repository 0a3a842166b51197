import pytest
from hypothesis import given
from hypothesis import strategies as st

from refilm.training.batches.curriculum import lesson_at, samples_at
from refilm.training.settings import Lesson


def test_lessons_follow_each_other_and_the_last_one_lasts():
    first, last = Lesson(until=10, batch=1), Lesson(until=20, batch=1)
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


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 5)), min_size=1, max_size=4))
def test_samples_are_numbered_through_all_lessons_without_gaps(shapes):
    lessons = [Lesson(until=until, batch=batch) for until, batch in shapes]
    numbers = [n for step in range(20) for n in samples_at(lessons, step)]
    assert numbers == list(range(len(numbers)))
    assert [len(samples_at(lessons, step)) for step in range(20)] == [lesson_at(lessons, s).batch for s in range(20)]
