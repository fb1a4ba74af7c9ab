"""The frozen copy that a run executes from, and the digests of files."""
