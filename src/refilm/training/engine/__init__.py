"""The loop and its steps. Knows nothing of what is trained, of data or of screens."""
