"""Check every file of a data set before training, and write a report."""

from refilm.data.checking.check import TokenCounter, check
from refilm.data.checking.checked import CheckedSet, keep_usable, read_report, require_checked
from refilm.data.checking.findings import ClipReport, Finding, Report
from refilm.data.checking.places import report_paths
from refilm.data.settings import CheckSettings

__all__ = [
    "CheckSettings",
    "CheckedSet",
    "ClipReport",
    "Finding",
    "Report",
    "TokenCounter",
    "check",
    "keep_usable",
    "read_report",
    "report_paths",
    "require_checked",
]
