"""The frozen copy that a run executes from, and the inputs that it reads live."""
