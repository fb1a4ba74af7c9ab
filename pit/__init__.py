"""Pit: a declarative, make-style orchestrator for data teams, on top of doit."""
