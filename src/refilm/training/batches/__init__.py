"""What a step learns from: encoded clips, the sample stream, and the fixed validation set."""
