"""Checkpoints of a run, whole or sharded, with checksums that are verified on every load."""
