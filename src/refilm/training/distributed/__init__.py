"""Several processes as one: the group, what they agree on, and signs of life between them."""
