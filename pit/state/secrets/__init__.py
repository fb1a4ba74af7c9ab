"""The secrets file: read, encrypted, changed."""
