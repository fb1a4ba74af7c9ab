"""Floor 6, one run: compile, attempt, schedule, executors, run."""
