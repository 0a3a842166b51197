"""Require that a data set was checked, is usable, and has not changed since."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from refilm.data.checking.findings import FileRecord, Report
from refilm.data.checking.places import home_of, identity_of, name_of, report_paths
from refilm.data.examples import Example
from refilm.data.manifest import list_examples, read_examples, write_manifest
from refilm.data.settings import CheckSettings
from refilm.errors import UserError
from refilm.files import sha256_of


@dataclass(frozen=True)
class CheckedSet:
    """A data set that passed the check."""

    examples: tuple[Example, ...]
    hashes: dict[Path, str]
    """The sha256 of every file of the examples."""
    settings: CheckSettings
    """The settings of the check."""
    long_captions: int
    """Number of captions with more tokens than `settings.tokens`."""

    def require_tokens(self, path: Path | str, tokens: int) -> None:
        """Require that the check reported every caption that a text encoder truncates.

        Args:
            path: the manifest or folder, for the message.
            tokens: number of tokens that the text encoder reads.

        Raises:
            UserError: the check was made for a text encoder that reads more tokens.
        """
        if tokens < self.settings.tokens:
            raise UserError(
                f"{path}: was checked for captions of up to {self.settings.tokens} tokens, but this base reads "
                f"{tokens}; run: refilm data check {path} --base BASE, with this base"
            )


def read_report(path: Path | str) -> Report:
    """The report of the last check of a manifest or folder.

    Raises:
        UserError: the data set was never checked, or the report cannot be read.
    """
    path = Path(path)
    place, _ = report_paths(path)
    remedy = f"run: refilm data check {path}"
    if not place.is_file():
        raise UserError(f"{path}: has not been checked; {remedy}")
    try:
        return Report.model_validate_json(place.read_bytes())
    except ValidationError as error:
        raise UserError(
            f"{place}: is not a valid report of this version ({error.error_count()} errors); {remedy}"
        ) from error


def require_checked(path: Path | str, *, allow_outside: bool = False) -> CheckedSet:
    """The examples of a manifest or folder, all of which must have passed the check.

    A file counts as unchanged if its size and modification time are. If only the time differs, for example after
    copying, its content is compared.

    Args:
        allow_outside: allow files outside the manifest's folder; required if the check allowed it.

    Raises:
        UserError: the data set was never checked, has changed since, or has clips that cannot be used.
    """
    path = Path(path)
    report = read_report(path)
    again = f"run: refilm data check {path}"
    if not report.usable:
        bad = sum(not clip.usable for clip in report.clips)
        page = report_paths(path)[1]
        raise UserError(f"{path}: {bad} of {len(report.clips)} clips cannot be used, see {page}; fix them and {again}")
    if report.allow_outside and not allow_outside:
        raise UserError(
            f"{path}: was checked with --allow-outside (files outside its folder); use --allow-outside here too"
        )
    home = home_of(path)
    examples = tuple(read_examples(path, allow_outside=allow_outside))
    if identity_of(examples, home) != report.identity:
        raise UserError(f"{path}: has changed since the check; {again}")
    hashes: dict[Path, str] = {}
    for file in dict.fromkeys(file for example in examples for file in example.files):
        record = report.files.get(name_of(file, home))
        if record is None or not _unchanged(file, record):
            raise UserError(f"{file}: has changed since the check of {path}; {again}")
        hashes[file] = record.sha256
    return CheckedSet(examples, hashes, report.settings, report.count("long caption"))


def keep_usable(path: Path | str, report: Report, target: Path | str) -> int:
    """Write a manifest of the usable clips only; returns their number.

    Raises:
        UserError: no clip is usable, the data set has changed since the report, or as `write_manifest`.
    """
    listed = list_examples(path, allow_outside=report.allow_outside)
    examples = [one.example for one in listed if one.example is not None]
    if identity_of(examples, home_of(Path(path))) != report.identity:
        raise UserError(f"{path}: has changed since the check; run: refilm data check {path}")
    pairs = zip(listed, report.clips, strict=True)
    usable = [one.example for one, clip in pairs if clip.usable and one.example is not None]
    if not usable:
        raise UserError(f"{path}: none of its clips can be used, so {target} was not written; see the report")
    write_manifest(target, usable, allow_outside=report.allow_outside)
    return len(usable)


def _unchanged(file: Path, record: FileRecord) -> bool:
    state = file.stat()
    if state.st_size != record.size:
        return False
    if state.st_mtime_ns == record.mtime_ns:
        return True
    return sha256_of(file) == record.sha256
