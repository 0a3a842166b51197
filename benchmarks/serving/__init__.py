"""What the benchmarks of `refilm serve` share: a server that is killed, many clients, and a check of the store."""
