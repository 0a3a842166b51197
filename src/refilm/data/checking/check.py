"""The check of a data set: what is listed, every caption, every image, every clip, and what is there twice.

Files are looked at in worker processes with a time limit, so that none of them can hang the check or take it down.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile

from refilm.data.checking.findings import CheckSettings, ClipReport, Finding, Kind, Report
from refilm.data.checking.inspecting import ImageFile, Seen, SeenFile, VideoFile, look
from refilm.data.checking.page import page
from refilm.data.checking.places import home_of, identity_of, name_of, report_paths
from refilm.data.checking.plan import Plan, Sight
from refilm.data.checking.repeats import repeated_clips, repeated_images
from refilm.data.examples import Example, Fault, Listed
from refilm.data.manifest import is_utf8, list_examples
from refilm.data.workers import Failure, in_workers
from refilm.files import write_text
from refilm.printable import printable

FAILURES: dict[str, tuple[Kind, str]] = {
    "timeout": ("timeout", "give it more time with --patience, or convert it"),
    "died": ("crash", "remove it, or convert it elsewhere"),
    "error": ("unreadable", "convert it anew"),
}


@dataclass(frozen=True)
class Words:
    """How captions are counted."""

    count: Callable[[str], int]
    """Tokens of a caption, the end mark with them, as a base model's text encoder reads it."""
    base: str
    """The name of that base model."""


def check(
    path: Path | str,
    settings: CheckSettings,
    *,
    words: Words,
    workers: int,
    patience: float = 120.0,
    allow_outside: bool = False,
) -> Generator[tuple[int, int], None, Report]:
    """Check a manifest or folder, and write the report beside it; yields (files looked at, files in all).

    Args:
        workers: processes that look at files.
        patience: seconds that looking at one file may take.

    Raises:
        ValueError: `path` is neither, or lists nothing, or its folder cannot be written to.
        OSError: the report cannot be written after all.
    """
    path, started = Path(path), time.perf_counter()
    _require_writable(path)
    home = home_of(path)
    listed = [_nameable(one, home) for one in list_examples(path, allow_outside=allow_outside)]
    plan, sight, done = Plan(listed, settings), Sight(), 0
    yield done, len(plan)
    for items in (lambda: plan.images, lambda: plan.videos(sight.looks)):  # clips are compared with their references
        files: Sequence[ImageFile | VideoFile] = items()
        for number, outcome in in_workers(look, files, workers=workers, seconds=patience):
            seen = _failed(files[number], outcome) if isinstance(outcome, Failure) else outcome
            plan.take(sight, files[number], seen)
            done += 1
            yield done, len(plan)
    report = Report(
        identity=identity_of(plan.examples.values(), home),
        settings=settings,
        allow_outside=allow_outside,
        base=words.base,
        seconds=round(time.perf_counter() - started, 1),
        clips=_clips(listed, plan, sight, home, words),
        files={name_of(file, home): record for file, record in sight.records.items()},
    )
    _write(path, report, plan, sight)
    return report


def _failed(file: ImageFile | VideoFile, failure: Failure) -> SeenFile:
    kind, remedy = FAILURES[failure.kind]
    seen = Seen(findings=(Finding(kind=kind, message=f"{file.path}: {failure.message}; {remedy}"),))
    return SeenFile(None, (seen,) * (len(file.clips) if isinstance(file, VideoFile) else 1))


def _clips(listed: Sequence[Listed], plan: Plan, sight: Sight, home: Path, words: Words) -> tuple[ClipReport, ...]:
    hashes = {file: record.sha256 for file, record in sight.records.items()}
    clip_looks = {number: seen.looks for number, seen in sight.clips.items() if seen.looks}
    repeats: dict[int, list[Finding]] = defaultdict(list)
    for number, finding in (
        *repeated_clips(listed, clip_looks, hashes),
        *repeated_images(listed, sight.looks, hashes),
    ):
        repeats[number].append(finding)
    reports = []
    for number, one in enumerate(listed):
        findings = [Finding(kind=fault.kind, message=fault.message) for fault in one.faults]
        place = _short(one.place, home)
        if one.example is None:
            reports.append(ClipReport(place=place, video=None, findings=tuple(findings)))
            continue
        findings += _text(one.example, one.place, words, plan.settings)
        findings += [_with_source(found, one.example) for found in plan.findings(number, sight) + repeats[number]]
        seen = sight.clips.get(number, Seen())
        reports.append(
            ClipReport(
                place=place,
                video=name_of(one.example.video, home),
                caption=one.example.caption,
                facts=seen.facts,
                references=tuple(name_of(item.image, home) for item in one.example.references),
                findings=tuple(findings),
            )
        )
    return tuple(reports)


def _text(example: Example, place: str, words: Words, settings: CheckSettings) -> list[Finding]:
    findings = []
    if (tokens := words.count(example.caption)) > settings.tokens:
        rest = f"the last {tokens - settings.tokens} are not read"
        message = f"{place}: the caption has {tokens} tokens where {settings.tokens} fit; {rest}, so shorten it"
        findings.append(Finding(kind="long caption", message=message))
    if not example.references:
        message = f"{place}: has no reference; name an image of the subject, or let refilm data prepare make one"
        findings.append(Finding(kind="no reference", message=message))
    return findings


def _require_writable(path: Path) -> None:
    """Before anything is looked at: the report will lie beside the clips."""
    folder = report_paths(path)[0].parent
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"{folder}: cannot be written to ({error.strerror}), and the report is written there; make a manifest "
            f"elsewhere, refilm data import {path} NEW --allow-outside, and check NEW/manifest.jsonl --allow-outside"
        ) from error


def _nameable(one: Listed, home: Path) -> Listed:
    """An example with a fault for each file whose name no manifest or report can hold."""
    files = [file for file in (one.example.files if one.example else ()) if not is_utf8(name_of(file, home))]
    remedy = "its name is not UTF-8; rename it, or give all files new names by refilm data import"
    return replace(one, faults=(*one.faults, *(Fault("line", f"{file}: {remedy}", file) for file in files)))


def _with_source(finding: Finding, example: Example) -> Finding:
    """Files that were imported have new names; their owner knows the old ones."""
    if not example.source:
        return finding
    return Finding(kind=finding.kind, message=f"{finding.message} (imported from {example.source})")


def _short(place: str, home: Path) -> str:
    return name_of(Path(place), home)


def _write(path: Path, report: Report, plan: Plan, sight: Sight) -> None:
    """The page first: who finds the report of a usable set finds its page too."""
    data, html = report_paths(path)
    write_text(html, page(printable(path.name), report, plan, sight))
    write_text(data, report.model_dump_json(indent=1))
