import pytest

from refilm.errors import UserError
from refilm.settings import Settings, StepRange


class Run(Settings):
    guided: StepRange | None = None


@pytest.mark.parametrize("value", ["3-12", " 3-12 ", "3 - 12", (3, 12), [3, 12], StepRange(3, 12)])
def test_text_and_pairs_are_the_same_steps(value):
    steps = Run.of(guided=value).guided
    assert steps == StepRange.of(value) == StepRange(3, 12)
    assert str(steps) == "3-12"
    assert steps.indices(12) == range(2, 12)


@pytest.mark.parametrize(
    "value",
    ["0-3", "3-2", "3", "3-", "-3", "a-b", "1-2-3", "1" * 5000, (0, 3), (4, 3), (1,), (1.0, 2), (True, 2), 12, "٣-٤"],
)
def test_other_values_are_refused(value):
    message = "give the first and the last step, counted from 1, for instance 1-20, or 5-5 for one step"
    with pytest.raises(UserError, match=message):
        StepRange.of(value)
    with pytest.raises(UserError, match=f"guided: {message} \\(received "):
        Run.of(guided=value)


def test_steps_that_do_not_exist_are_refused():
    with pytest.raises(UserError, match="the run has 11 steps; give 1-11 or a part of it"):
        StepRange(3, 12).indices(11)


def test_a_file_says_it_as_text():
    run = Run.of(guided=(3, 12))
    assert run.to_values() == {"guided": "3-12"}
    assert Run.from_values(run.to_values()) == Run.from_values({"guided": [3, 12]}) == run
    assert Run.from_values(Run().to_values()).guided is None
    assert Run.model_json_schema()["properties"]["guided"]["anyOf"][0] == {"type": "string"}
