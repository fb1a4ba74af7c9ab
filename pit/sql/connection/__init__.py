"""Connections: URLs and connection strings, taken apart and written."""
