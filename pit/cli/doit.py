"""Where a dodo.py that was copied from an earlier release finds what it needs: `pit.dodo`."""

from __future__ import annotations

from pit.cli.commands.doit import project, workspace

__all__ = ["project", "workspace"]
