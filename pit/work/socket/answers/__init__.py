"""What Pit itself answers to tasks: secrets, values, rows."""
