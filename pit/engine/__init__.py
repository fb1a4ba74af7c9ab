"""One run: its steps and locks, what is current, when each task starts, doit's commands."""
