"""Monitoring of a run: run record, trackers, sample videos."""
