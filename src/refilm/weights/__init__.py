"""Files of weights: tensors in safetensors, pickles and shards, their configs, and fingerprints. Knows no model."""
