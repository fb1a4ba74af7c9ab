"""The terminal: the only writer, the views of a run, its summary."""
