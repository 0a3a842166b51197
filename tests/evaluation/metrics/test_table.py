"""The table of metrics."""

import pytest

from refilm.errors import UserError
from refilm.evaluation.metrics import ABSENT, METRICS, columns, create


def test_every_metric_has_columns_of_its_own():
    names = [column.name for metric in (*METRICS, *ABSENT) for column in columns(metric)]
    assert len(names) == len(set(names)) >= len(METRICS) + len(ABSENT)


@pytest.mark.parametrize("name", [*METRICS, *ABSENT])
def test_every_column_is_described_in_one_sentence(name):
    for column in columns(name):
        assert column.description.endswith(".")
        assert 20 < len(column.description) < 120


@pytest.mark.parametrize("name", ABSENT)
def test_absent_metrics_say_why(name):
    with pytest.raises(UserError, match=f"^{name}: (needs|refilm has no) "):
        create(name)


def test_smoothness_comes_only_with_dynamic_degree():
    with_smoothness = [name for name in METRICS if "smoothness" in {column.name for column in columns(name)}]
    assert with_smoothness == ["motion"]
    assert "dynamic_degree" in {column.name for column in columns("motion")}


def test_unknown_names_are_refused():
    for function in (create, columns):
        with pytest.raises(UserError, match="metric: 'clipi' is unknown; use critters, "):
            function("clipi")
