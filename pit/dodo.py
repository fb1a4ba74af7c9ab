"""What a dodo.py needs: doit's own commands on the tasks of a project, or of a workspace."""

from __future__ import annotations

from pit.cli.commands.doit import project, workspace

__all__ = ["project", "workspace"]
