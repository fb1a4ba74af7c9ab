"""Rows in bulk, from files into tables and from queries into files: all of them, or nothing."""
