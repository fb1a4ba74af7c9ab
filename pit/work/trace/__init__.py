"""Watching which files a task opens, for `pit run --learn`."""
