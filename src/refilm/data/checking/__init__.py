"""Check every file of a data set before training, and write a report."""

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
