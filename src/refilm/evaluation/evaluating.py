"""From a suite and a source of videos to a result. Does not know how it is shown."""

import importlib.metadata
from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from refilm.errors import UserError
from refilm.evaluation.answer import Answer, Answers
from refilm.evaluation.case import SURROGATE, Case, Control
from refilm.evaluation.identity import identity_of_all
from refilm.evaluation.metric import Column, Metric
from refilm.evaluation.metrics import OF_SUITES, columns, create
from refilm.evaluation.result import ColumnRecord, MetricRecord, Result, ScoredVideo, SuiteRecord
from refilm.evaluation.scoring import SEGMENT, Scorer
from refilm.evaluation.suites.suite import Suite
from refilm.evaluation.warning import warnings_about
from refilm.jobs import Progress
from refilm.machine import machine

SUBJECTS, VIDEOS = "subjects", "videos"
"""Folders in that of a result: images that a suite draws, and videos that a source makes."""


def chosen_cases(
    suite: Suite, out: Path, *, controls: Sequence[Control] = get_args(Control), limit: int | None = None
) -> list[Case]:
    """The cases of a suite with some controls, and of the first `limit` groups only.

    Raises:
        UserError: the suite's files are invalid, two cases have the same name, or no case is left.
    """
    cases = suite.cases(out / SUBJECTS)
    _require_distinct(cases)
    groups = list(dict.fromkeys(case.group for case in cases))[:limit]
    chosen = [case for case in cases if case.group in set(groups) and case.control in controls]
    if not chosen:
        raise UserError(f"{suite.name}: has no case with control {' or '.join(controls)}; choose other controls")
    return chosen


def evaluate(
    suite: Suite,
    source: Answers,
    cases: Sequence[Case],
    out: Path,
    *,
    device: str = "cpu",
    metrics: Sequence[str] = (),
) -> Generator[Progress | ScoredVideo | Result, None, None]:
    """Score the videos of a source.

    Args:
        suite: names the metrics.
        source: makes or finds the videos.
        cases: those that are asked for, see `chosen_cases`.
        out: folder of the result. A second call continues where the first ended.
        device: device of the metrics' encoders.
        metrics: names of the metrics, in the order of the columns. Default: those of the suite.

    Yields:
        Steps of a model that makes videos, each scored video, and at last the result, with the videos in the order of
        the cases.

    Raises:
        UserError: no metric of the suite can run here; names the reasons. Or the source has no videos at all, none of
            the controls, or a path is not UTF-8.
    """
    cases = [case for case in cases if case.control in source.controls]
    if not cases:
        raise UserError(f"{suite.name}: this source has only the controls {', '.join(source.controls)}; ask for those")
    _require_writable_names(suite, cases, out)
    running, records = metrics_of(suite, device, masks=source.masks, names=metrics)
    scorer = Scorer(running, out)
    scored: dict[str, ScoredVideo] = {}
    for event in source.answers(cases, out / VIDEOS):
        if isinstance(event, Answer):
            scored[event.case.name] = event = scorer.score(event)
        yield event
    for case in cases:
        if case.name not in scored:
            yield scored.setdefault(case.name, scorer.score(Answer(case, error="the source gave no answer")))
    videos, origin = tuple(scored[case.name] for case in cases), source.record()
    result = Result(
        suite=SuiteRecord(
            name=suite.name,
            version=suite.version,
            cases=identity_of_all(case for case in cases if case.control == "right"),
        ),
        source=origin,
        metrics=records,
        warnings=tuple(warnings_about(origin, records, videos)),
        videos=videos,
        machine=machine(),
        refilm=importlib.metadata.version("refilm"),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    yield result.model_copy(update={"warnings": (*result.warnings, *suite.remarks(result))})


def metrics_of(
    suite: Suite, device: str, *, masks: bool, names: Sequence[str] = ()
) -> tuple[dict[str, Metric], dict[str, MetricRecord]]:
    """The metrics that can run here, and what the result says about all of them.

    Args:
        suite: names the metrics.
        device: device of their encoders.
        masks: whether videos have masks of the subject.
        names: of the metrics. Default: those of the suite.

    Raises:
        UserError: a name is unknown, or none can run; names the reasons.
    """
    for name in names:
        if name in OF_SUITES and name not in suite.metrics:
            raise UserError(
                f"metric {name}: scores only suites that have it; {suite.name} has {', '.join(suite.metrics)}"
            )
    running: dict[str, Metric] = {}
    records: dict[str, MetricRecord] = {}
    for name in names or suite.metrics:
        described = tuple(map(_described, columns(name)))
        try:
            if name.endswith(SEGMENT) and not masks:
                raise UserError(f"{name}: there are no masks of the subject; save CASE.mask.mp4 beside each video")
            running[name] = create(name, device=device)
            records[name] = MetricRecord(columns=described, identity=dict(running[name].identity))
        except UserError as error:
            records[name] = MetricRecord(columns=described, absent=str(error))
    if not running:
        reasons = "; ".join(f"{name}: {record.absent}" for name, record in records.items())
        raise UserError(f"{suite.name}: none of its metrics can run here: {reasons}")
    return running, records


def _described(column: Column) -> ColumnRecord:
    return ColumnRecord(
        name=column.name,
        description=column.description,
        worst=float(column.worst),
        higher=column.higher,
        hit=column.hit,
    )


def _require_writable_names(suite: Suite, cases: Sequence[Case], out: Path) -> None:
    """Check that a result can name the suite and all images, relative to its folder."""
    images = {path for case in cases for path in (*case.subject, *case.reference)}
    for name in (suite.name, str(out.resolve()), *(str(path.resolve()) for path in images)):
        if SURROGATE.search(name):
            raise UserError(f"{name}: is not UTF-8; rename the file or folder")


def _require_distinct(cases: Sequence[Case]) -> None:
    seen: set[str] = set()
    for case in cases:
        name = case.name.casefold()  # some disks do not distinguish capitals
        if name in seen:
            raise UserError(f"case {case.name}: two cases of the suite have this name; give each its own")
        seen.add(name)
