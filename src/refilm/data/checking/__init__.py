"""A look at every file of a data set before anything is learned from it, and the report on it."""

from refilm.data.checking.check import Words, check
from refilm.data.checking.checked import Checked, keep_usable, read_report, require_checked
from refilm.data.checking.findings import CheckSettings, ClipReport, Finding, Report
from refilm.data.checking.places import report_paths

__all__ = [
    "CheckSettings",
    "Checked",
    "ClipReport",
    "Finding",
    "Report",
    "Words",
    "check",
    "keep_usable",
    "read_report",
    "report_paths",
    "require_checked",
]
