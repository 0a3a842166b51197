"""Training: tasks compute losses, one loop updates the weights, checkpoints make runs resumable."""
