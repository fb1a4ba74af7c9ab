"""The disk: how files look, atomic writes, locks, copies, paths and patterns."""
