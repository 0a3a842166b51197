"""What is learned: the loss of a step, which parameters train, and whether the reference is used."""
