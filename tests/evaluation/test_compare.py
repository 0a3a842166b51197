"""Which differences are real: none between equal systems, known ones between others, and nothing measured otherwise."""

import numpy as np
import pytest

from refilm.errors import UserError
from refilm.evaluation.compare import compare, comparison_table, one_sided
from refilm.evaluation.output import read_result
from refilm.evaluation.result import ColumnRecord, MetricRecord, Result, ScoredVideo, Source, SuiteRecord
from refilm.files import write_json

COLUMNS = (
    ColumnRecord(name="likeness", description="Likeness.", worst=0),
    ColumnRecord(name="right", description="Whether it is right.", worst=0, hit=True),
    ColumnRecord(name="copied", description="Copied.", worst=1, higher=False),
    ColumnRecord(name="speed", description="Speed.", worst=0, higher=None),
)
GROUPS = 40


def result(scores: dict[str, np.ndarray], *, metrics: dict[str, MetricRecord] | None = None, **suite: str) -> Result:
    """A result with a video for each value; `scores` has an array for each column."""
    own = MetricRecord(columns=tuple(c for c in COLUMNS if c.name in scores), identity={"encoder": "a", "frames": "8"})
    count = len(next(iter(scores.values())))
    videos = [
        ScoredVideo(
            case=f"{number}-{control}",
            control=control,
            group=f"group {number % GROUPS}",
            prompt="a prompt",
            seed=number,
            subject=(),
            scores={name: float(values[number]) if control == "right" else 0.0 for name, values in scores.items()},
        )
        for number in range(count)
        for control in ("right", "none")
    ]
    return Result(
        suite=SuiteRecord(**{"name": "suite", "version": "1", "cases": "abc", **suite}),
        source=Source(kind="folder"),
        metrics={"metric": own} if metrics is None else metrics,
        videos=tuple(videos),
        machine={},
        refilm="0",
        date="",
    )


def draw(rng: np.random.Generator, prompts: np.ndarray, better: float = 0.0) -> dict[str, np.ndarray]:
    """Scores of a system: those of the prompts, which all systems share, with its own noise."""
    likeness = prompts + rng.normal(0, 0.1, GROUPS) + better
    return {
        "likeness": likeness,
        "right": (likeness > 0.5).astype(float),
        "copied": rng.exponential(0.1, GROUPS) - better / 2,
        "speed": rng.normal(0, 1, GROUPS) + 10 * better,
    }


@pytest.fixture
def fewer_resamples(monkeypatch):
    monkeypatch.setattr("refilm.evaluation.intervals.RESAMPLES", 5_000)


def test_equal_systems_do_not_differ(fewer_resamples):
    """100 draws of two systems with the same distribution; a draw counts if any of its four columns differs."""
    rng = np.random.default_rng(0)
    differ = 0
    for _ in range(100):
        prompts = rng.normal(0.5, 0.3, GROUPS)
        found = compare(result(draw(rng, prompts)), result(draw(rng, prompts)))
        differ += any(one.finding != "no difference shown" for one in found)
    assert differ <= 5  # about 1 is expected


def test_a_known_difference_is_found(fewer_resamples):
    rng = np.random.default_rng(1)
    for _ in range(20):
        prompts = rng.normal(0.5, 0.3, GROUPS)
        first, second = result(draw(rng, prompts)), result(draw(rng, prompts, better=0.15))
        findings = {one.column.name: one.finding for one in compare(first, second)}
        assert findings["likeness"] == "better"
        back = {one.column.name: one for one in compare(second, first)}
        assert back["likeness"].finding == "worse"
        assert back["likeness"].difference.mean == pytest.approx(-0.15, abs=0.1)


@pytest.mark.parametrize(
    ("column", "difference", "finding"),
    [
        ("likeness", 0.1, "better"),
        ("likeness", -0.1, "worse"),
        ("copied", 0.1, "worse"),
        ("copied", -0.1, "better"),
        ("speed", 0.1, "higher"),
        ("speed", -0.1, "lower"),
        ("likeness", 0.0, "no difference shown"),
    ],
)
def test_the_direction_of_a_column_decides_what_is_better(column, difference, finding):
    values = np.linspace(0, 1, GROUPS)
    (found,) = compare(result({column: values}), result({column: values + difference}))
    assert found.finding == finding
    assert found.second - found.first == pytest.approx(difference)


def test_few_groups_have_no_finding():
    (found,) = compare(result({"likeness": np.zeros(9)}), result({"likeness": np.ones(9)}))
    assert found.finding == "too few groups"
    (found,) = compare(result({"likeness": np.zeros(10)}), result({"likeness": np.ones(10)}))
    assert found.finding == "better"


def test_pairs_and_not_systems_are_resampled():
    """A small difference of each pair is real, however much prompts differ."""
    prompts = np.random.default_rng(0).normal(size=GROUPS)
    (found,) = compare(result({"likeness": prompts}), result({"likeness": prompts + 0.01}))
    assert found.finding == "better"


@pytest.mark.parametrize("what", ["name", "version", "cases"])
def test_results_of_other_cases_are_refused(what):
    scores = {"likeness": np.zeros(GROUPS)}
    with pytest.raises(UserError, match=f"cannot be compared: suite {what}: .* and other"):
        compare(result(scores), result(scores, **{what: "other"}))


def test_results_of_other_metrics_are_refused_with_all_reasons():
    scores = {"likeness": np.zeros(GROUPS)}
    other = MetricRecord(columns=COLUMNS[:1], identity={"encoder": "b", "frames": "16"})
    with pytest.raises(
        UserError, match=r"suite version: 1 and 2; metric metric, encoder: a and b; .* frames: 8 and 16"
    ):
        compare(result(scores), result(scores, metrics={"metric": other}, version="2"))


def test_rounding_is_no_difference():
    values = np.linspace(0, 1, GROUPS)
    (found,) = compare(result({"likeness": values}), result({"likeness": values + 1e-9}))
    assert found.finding == "no difference shown"


def test_results_with_other_videos_are_refused():
    scores = {"likeness": np.zeros(GROUPS)}
    edited = result(scores)
    edited = edited.model_copy(update={"videos": edited.videos[2:]})
    with pytest.raises(UserError, match="cases: 1 are in one result only, such as 0-right"):
        compare(result(scores), edited)


@pytest.mark.parametrize(
    "change", [lambda v: v["scores"].clear(), lambda v: v.update(case="1-right")], ids=["score", "name"]
)
def test_an_edited_result_is_refused_when_it_is_read(tmp_path, change):
    values = result({"likeness": np.zeros(GROUPS)}).to_values()
    change(values["videos"][0])
    write_json(tmp_path / "result.json", values)
    with pytest.raises(UserError, match=r"result\.json: .*(video 0-right has no score likeness|two videos are called)"):
        read_result(tmp_path)


def test_a_metric_that_only_one_result_has_is_named():
    scores = {"likeness": np.zeros(GROUPS)}
    gone = MetricRecord(columns=COLUMNS[3:], absent="no encoder")
    second = result(scores).metrics | {"flow": gone}
    first = result(scores).metrics | {"flow": MetricRecord(columns=COLUMNS[3:], identity={"flow": "x"})}
    one, other = result(scores | {"speed": np.zeros(GROUPS)}, metrics=first), result(scores, metrics=second)
    assert [found.column.name for found in compare(one, other)] == ["likeness"]
    assert list(one_sided(one, other)) == ["flow is not compared: only the first result has it"]
    with pytest.raises(UserError, match="no column in common"):
        compare(result(scores, metrics={}), result(scores, metrics={}))


def test_the_table_has_the_level_of_its_intervals():
    rng = np.random.default_rng(0)
    scores = draw(rng, rng.normal(size=GROUPS))
    table = comparison_table(compare(result(scores), result(scores)))
    assert table.head[3] == "difference (99.75 % interval)"
    assert table.rows[0][4] == "no difference shown"
