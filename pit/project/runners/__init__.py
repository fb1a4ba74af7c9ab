"""How a script becomes a command, and which files are its code: one module for each runner.

`table` finds the runner of a task.
"""
