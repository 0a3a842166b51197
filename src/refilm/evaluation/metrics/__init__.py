"""Metrics: a metric is one file and one row here."""
