"""The training loop and its steps. Independent of tasks, data and display."""
