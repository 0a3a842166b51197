"""Training: tasks give losses, one loop moves the weights, checkpoints let it go on."""
