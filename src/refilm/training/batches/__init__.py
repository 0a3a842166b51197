"""Training data: encoded clips, the sample stream, the curriculum and the validation set."""
