import json

import pytest

from refilm.evaluation import Row, accuracy, as_json, machine, markdown

ROWS = [
    Row("the model", {"shape": accuracy([True] * 9 + [False]), "motion": accuracy([True] * 10)}, {"seconds": 3.5}),
    Row("no image", {"shape": accuracy([False] * 10), "motion": accuracy([True] * 10)}),
]


def test_a_table_has_percent_and_intervals():
    assert markdown(ROWS).splitlines() == [
        "|  | shape | motion |",
        "| --- | ---: | ---: |",
        "| the model | 90.0 (60–98) | 100.0 (72–100) |",
        "| no image | 0.0 (0–28) | 100.0 (72–100) |",
    ]


def test_rows_of_one_table_need_the_same_columns():
    with pytest.raises(ValueError, match="same columns"):
        markdown([*ROWS, Row("odd", {"shape": accuracy([True])})])
    with pytest.raises(ValueError, match="at least one row"):
        markdown([])


def test_json_contains_all_measurements():
    first, second = json.loads(json.dumps(as_json(ROWS)))
    assert first["name"] == "the model"
    assert first["seconds"] == 3.5
    assert first["scores"]["shape"] == pytest.approx({"share": 0.9, "low": 0.5958, "high": 0.9821, "count": 10}, 1e-3)
    assert second["scores"]["shape"]["share"] == 0


def test_the_machine_is_named():
    facts = json.loads(json.dumps(machine()))
    assert facts["processor"]
    assert facts["torch"]
    assert facts["cores"] >= 1
