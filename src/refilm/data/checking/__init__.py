"""A look at every file of a data set before anything is learned from it, and the report on it."""

from refilm.data.checking.check import check
from refilm.data.checking.checked import Checked, require_checked
from refilm.data.checking.findings import CheckSettings, Finding, Report

__all__ = ["CheckSettings", "Checked", "Finding", "Report", "check", "require_checked"]
