"""Tasks: the diffusion loss, trained parameters, warm start, validation and reference usage."""
