"""A complete check, for data sets of small clips."""

from pathlib import Path

from refilm.data.checking import CheckSettings, Report, TokenCounter, check

SMALL = CheckSettings(frames=8, fps=8, height=64, width=96, tokens=10)
COUNTER = TokenCounter(lambda caption: len(caption.split()) + 1, "words")


def checked(
    path: Path, settings: CheckSettings = SMALL, *, patience: float = 60.0, allow_outside: bool = False
) -> Report:
    """The report on a data set."""
    looking = check(path, settings, counter=COUNTER, workers=2, patience=patience, allow_outside=allow_outside)
    while True:
        try:
            done, total = next(looking)
            assert done <= total
        except StopIteration as end:
            assert done == total
            return end.value


def kinds(report: Report) -> list[set[str]]:
    """The kinds of findings of each clip."""
    return [{finding.kind for finding in clip.findings} for clip in report.clips]
