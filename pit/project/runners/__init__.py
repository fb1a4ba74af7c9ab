"""How a script becomes a command, and which files are its code."""
