"""Measurements that need a GPU, each part in its own process with its own time limit. `run.sh` runs them all."""
