"""Check a data set: its entries, captions, images and clips, and duplicates among them.

Files are inspected in worker processes with a time limit, so no file can hang or crash the check.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile

from refilm.data.checking.file_list import FileList, Inspections
from refilm.data.checking.findings import ClipReport, Finding, Kind, Report
from refilm.data.checking.inspecting import ImageToInspect, Inspected, InspectedFile, VideoToInspect, inspect_file
from refilm.data.checking.page import page
from refilm.data.checking.places import home_of, identity_of, name_of, report_paths
from refilm.data.checking.repeats import repeated_clips, repeated_images
from refilm.data.examples import Example, Fault, Listed
from refilm.data.manifest import is_utf8, list_examples
from refilm.data.settings import CheckSettings
from refilm.data.workers import Failure, Workers
from refilm.errors import UserError
from refilm.files import write_text
from refilm.printable import printable

FAILURES: dict[str, tuple[Kind, str]] = {
    "timeout": ("timeout", "increase --patience, or convert the file"),
    "died": ("crash", "remove the file, or convert it with another program"),
    "error": ("unreadable", "convert the file again"),
}


@dataclass(frozen=True)
class TokenCounter:
    """Counts the tokens of captions."""

    count: Callable[[str], int]
    """The number of a caption's tokens for the base model's text encoder, including the end token."""
    base: str
    """The name of that base model."""


def check(
    path: Path | str,
    settings: CheckSettings,
    *,
    counter: TokenCounter,
    workers: int,
    patience: float = 120.0,
    allow_outside: bool = False,
) -> Generator[tuple[int, int], None, Report]:
    """Check a manifest or folder and write the report beside it; yields (inspected files, all files).

    Args:
        counter: counts the tokens of captions.
        workers: number of processes that inspect files.
        patience: time limit for one file, in seconds.

    Raises:
        UserError: `path` is neither a manifest nor a folder, lists no clips, or its folder is not writable.
        OSError: the report cannot be written.
    """
    path, started = Path(path), time.perf_counter()
    _require_writable(path)
    home = home_of(path)
    listed = [_nameable(one, home) for one in list_examples(path, allow_outside=allow_outside)]
    file_list, inspections, done = FileList(listed, settings), Inspections(), 0
    yield done, len(file_list)
    with Workers(workers, seconds=patience) as processes:
        # images first, because clips are compared with their references
        for items in (lambda: file_list.images, lambda: file_list.videos(inspections.image_hashes)):
            files: Sequence[ImageToInspect | VideoToInspect] = items()
            for number, outcome in processes.run(inspect_file, files):
                seen = _failed(files[number], outcome) if isinstance(outcome, Failure) else outcome
                file_list.store(inspections, files[number], seen)
                done += 1
                yield done, len(file_list)
    report = Report(
        identity=identity_of(file_list.examples.values(), home),
        settings=settings,
        allow_outside=allow_outside,
        base=counter.base,
        seconds=round(time.perf_counter() - started, 1),
        clips=_clips(listed, file_list, inspections, home, counter),
        files={name_of(file, home): record for file, record in inspections.records.items()},
    )
    _write(path, report, file_list, inspections)
    return report


def _failed(file: ImageToInspect | VideoToInspect, failure: Failure) -> InspectedFile:
    kind, remedy = FAILURES[failure.kind]
    seen = Inspected(findings=(Finding(kind=kind, message=f"{file.path}: {failure.message}; {remedy}"),))
    return InspectedFile(None, (seen,) * (len(file.clips) if isinstance(file, VideoToInspect) else 1))


def _clips(
    listed: Sequence[Listed], file_list: FileList, inspections: Inspections, home: Path, counter: TokenCounter
) -> tuple[ClipReport, ...]:
    hashes = {file: record.sha256 for file, record in inspections.records.items()}
    clip_hashes = {number: seen.image_hashes for number, seen in inspections.clips.items() if seen.image_hashes}
    repeats: dict[int, list[Finding]] = defaultdict(list)
    for number, finding in (
        *repeated_clips(listed, clip_hashes, hashes),
        *repeated_images(listed, inspections.image_hashes, hashes),
    ):
        repeats[number].append(finding)
    reports = []
    for number, one in enumerate(listed):
        findings = [Finding(kind=fault.kind, message=fault.message) for fault in one.faults]
        place = _short(one.place, home)
        if one.example is None:
            reports.append(ClipReport(place=place, video=None, findings=tuple(findings)))
            continue
        findings += _text(one.example, one.place, counter, file_list.settings)
        findings += [
            _with_source(found, one.example) for found in file_list.findings(number, inspections) + repeats[number]
        ]
        seen = inspections.clips.get(number, Inspected())
        reports.append(
            ClipReport(
                place=place,
                video=name_of(one.example.video, home),
                still=one.example.still,
                caption=one.example.caption,
                facts=seen.facts,
                references=tuple(name_of(item.image, home) for item in one.example.references),
                findings=tuple(findings),
            )
        )
    return tuple(reports)


def _text(example: Example, place: str, counter: TokenCounter, settings: CheckSettings) -> list[Finding]:
    findings = []
    if (tokens := counter.count(example.caption)) > settings.tokens:
        rest = f"the last {tokens - settings.tokens} are ignored"
        message = (
            f"{place}: the caption has {tokens} tokens, but at most {settings.tokens} are read; {rest}, so shorten it"
        )
        findings.append(Finding(kind="long caption", message=message))
    if not example.references:
        message = f"{place}: has no reference; add an image of the subject, or create one with refilm data prepare"
        findings.append(Finding(kind="no reference", message=message))
    return findings


def _require_writable(path: Path) -> None:
    """Check before the inspection that the report can be written beside the clips."""
    folder = report_paths(path)[0].parent
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"{folder}: is not writable ({error.strerror}), but the report is written there; create a manifest "
            f"elsewhere (refilm data import {path} NEW --allow-outside) and check NEW/manifest.jsonl --allow-outside"
        ) from error


def _nameable(one: Listed, home: Path) -> Listed:
    """Add a fault for each file whose name cannot be written to a manifest or report."""
    files = [file for file in (one.example.files if one.example else ()) if not is_utf8(name_of(file, home))]
    remedy = "the file name is not UTF-8; rename the file, or rename all files with refilm data import"
    return replace(one, faults=(*one.faults, *(Fault("line", f"{file}: {remedy}", file) for file in files)))


def _with_source(finding: Finding, example: Example) -> Finding:
    """Add the original name to a finding: imported files have new names."""
    if not example.source:
        return finding
    return Finding(kind=finding.kind, message=f"{finding.message} (imported from {example.source})")


def _short(place: str, home: Path) -> str:
    return name_of(Path(place), home)


def _write(path: Path, report: Report, file_list: FileList, inspections: Inspections) -> None:
    """Write the page before the JSON file, so that a JSON report always has its page."""
    data, html = report_paths(path)
    write_text(html, page(printable(path.name), report, file_list, inspections))
    write_text(data, report.model_dump_json(indent=1))
