"""Loads of one table take turns, by locks that the database keeps until the load has ended."""
