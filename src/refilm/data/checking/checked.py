"""Whether a data set was checked, found usable, and is still what it was then."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from refilm.data.checking.findings import CheckSettings, FileRecord, Report
from refilm.data.checking.places import home_of, identity_of, name_of, report_paths
from refilm.data.examples import Example
from refilm.data.manifest import list_examples, read_examples, write_manifest
from refilm.files import sha256_of


@dataclass(frozen=True)
class Checked:
    """A data set that can be used."""

    examples: tuple[Example, ...]
    hashes: dict[Path, str]
    """The sha256 of every file of the examples."""
    settings: CheckSettings
    """What it was checked for."""
    long_captions: int
    """How many have more tokens than that."""

    def require_tokens(self, path: Path | str, tokens: int) -> None:
        """That the check told of every caption which a text encoder cuts off.

        Args:
            path: the manifest or folder, for the message.
            tokens: how many that encoder reads.

        Raises:
            ValueError: it was for an encoder that reads more.
        """
        if tokens < self.settings.tokens:
            raise ValueError(
                f"{path}: was checked for captions of {self.settings.tokens} tokens, and this base reads {tokens}; "
                f"run: refilm data check {path} --base ..., with this base"
            )


def read_report(path: Path | str) -> Report:
    """The report of the last check of a manifest or folder.

    Raises:
        ValueError: there is none, or it cannot be read.
    """
    path = Path(path)
    place, _ = report_paths(path)
    remedy = f"run: refilm data check {path}"
    if not place.is_file():
        raise ValueError(f"{path}: was never checked; {remedy}")
    try:
        return Report.model_validate_json(place.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{place}: is no report of this version ({error.error_count()} faults); {remedy}") from error


def require_checked(path: Path | str, *, allow_outside: bool = False) -> Checked:
    """The examples of a manifest or folder that a check found usable, every one of them.

    Files are taken for unchanged where size and time of change are; where only the time is another, for instance after
    copying, by their content.

    Args:
        allow_outside: whether files may lie outside of the manifest's folder; the check must have allowed it too.

    Raises:
        ValueError: it was never checked, has changed since, or was not found usable.
    """
    path = Path(path)
    report = read_report(path)
    again = f"run: refilm data check {path}"
    if not report.usable:
        bad = sum(not clip.usable for clip in report.clips)
        page = report_paths(path)[1]
        raise ValueError(
            f"{path}: {bad} of {len(report.clips)} clips cannot be used, see {page}; mend them and {again}"
        )
    if report.allow_outside and not allow_outside:
        raise ValueError(f"{path}: was checked with --allow-outside, files outside its folder; give it here too")
    home = home_of(path)
    examples = tuple(read_examples(path, allow_outside=allow_outside))
    if identity_of(examples, home) != report.identity:
        raise ValueError(f"{path}: has changed since it was checked; {again}")
    hashes: dict[Path, str] = {}
    for file in dict.fromkeys(file for example in examples for file in example.files):
        record = report.files.get(name_of(file, home))
        if record is None or not _unchanged(file, record):
            raise ValueError(f"{file}: has changed since {path} was checked; {again}")
        hashes[file] = record.sha256
    return Checked(examples, hashes, report.settings, report.count("long caption"))


def keep_usable(path: Path | str, report: Report, target: Path | str) -> int:
    """Write a manifest of the usable clips alone; returns how many they are.

    Raises:
        ValueError: there are none, the data set has changed since the report, or as `write_manifest`.
    """
    listed = list_examples(path, allow_outside=report.allow_outside)
    examples = [one.example for one in listed if one.example is not None]
    if identity_of(examples, home_of(Path(path))) != report.identity:
        raise ValueError(f"{path}: has changed since it was checked; run: refilm data check {path}")
    pairs = zip(listed, report.clips, strict=True)
    usable = [one.example for one, clip in pairs if clip.usable and one.example is not None]
    if not usable:
        raise ValueError(f"{path}: none of its clips can be used, so {target} is not written; see the report")
    write_manifest(target, usable, allow_outside=report.allow_outside)
    return len(usable)


def _unchanged(file: Path, record: FileRecord) -> bool:
    state = file.stat()
    if state.st_size != record.size:
        return False
    if state.st_mtime_ns == record.mtime_ns:
        return True
    return sha256_of(file) == record.sha256
