"""A project on a disk: its files, its code, its Python, and how its targets are published."""
