"""Saved states of a run, whole or sharded, with checksums that every load compares."""
