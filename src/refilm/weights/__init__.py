"""Weights files: tensors in safetensors and pickles, model configs, and fingerprints. Independent of models."""
