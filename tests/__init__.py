"""Pit’s tests: they mirror `pit/`, folder by folder, and drive the real command."""
