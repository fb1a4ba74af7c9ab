"""The workspace's own settings, pit_config.toml, as a record.

Every command needs them, and few workspaces have more than the defaults: what reads and checks the
file is loaded only where there is one.
"""

from __future__ import annotations

import os
from pathlib import Path

from pit.errors import InvalidConfig
from pit.model import WorkspaceConfig

CONFIG_FILE = "pit_config.toml"


def load_workspace_config(root: Path) -> WorkspaceConfig:
    """pit_config.toml of the workspace at `root`, or its defaults; raises InvalidConfig."""
    root = Path(os.path.abspath(root))
    defaults = WorkspaceConfig(
        root=root, runs_dir=root / "runs", metadata_db=root / "pit_metadata.db"
    )
    path = root / CONFIG_FILE
    if not os.path.lexists(path):
        return defaults
    from pit.spec import toml
    from pit.spec.findings import Findings
    from pit.spec.keys import CONFIG

    findings = Findings(CONFIG_FILE)
    table = toml.read(path, findings)
    fields = CONFIG.read(table, (), findings) if table is not None else {}
    if findings:
        raise InvalidConfig(findings.problems())
    paths = {key: root / fields.pop(key) for key in _PATHS if key in fields}
    given = {**paths, **fields}
    return WorkspaceConfig(
        root=root,
        runs_dir=given.pop("runs_dir", defaults.runs_dir),
        metadata_db=given.pop("metadata_db", defaults.metadata_db),
        **given,
    )


_PATHS = ("runs_dir", "metadata_db", "secrets_file", "secrets_recipients", "age_identity")
