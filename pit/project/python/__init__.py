"""Python in a project: environments, and which files of code a script uses."""
