"""Suites: which videos an evaluation asks for, and which metrics score them. A suite is one file and one row here."""
