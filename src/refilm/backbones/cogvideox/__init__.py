"""CogVideoX (Yang et al. 2024, arXiv:2408.06072): the text-to-video models 2B, 5B and 1.5 5B."""
