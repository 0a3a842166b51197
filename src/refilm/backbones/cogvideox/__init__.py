"""CogVideoX (Yang et al. 2024, arXiv:2408.06072): the text-to-video models of the first generation, 2B and 5B."""
