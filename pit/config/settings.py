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
SECRETS_FILES = ("secrets.toml", "secrets.toml.age")
"""The names by which a secrets file in the workspace is found; the first that is there is used."""


def load_workspace_config(root: Path) -> WorkspaceConfig:
    """pit_config.toml of the workspace at `root`, or its defaults; raises InvalidConfig."""
    root = Path(os.path.abspath(root))
    defaults = WorkspaceConfig(
        root=root, runs_dir=root / "runs", metadata_db=root / "pit_metadata.db"
    )
    path = root / CONFIG_FILE
    if not os.path.lexists(path):
        return _with_found(defaults)
    from pit.config.keys.keys import CONFIG
    from pit.config.toml import document
    from pit.config.toml.findings import Findings

    findings = Findings(CONFIG_FILE)
    table = document.read(path, findings)
    fields = CONFIG.read(table, (), findings) if table is not None else {}
    if findings:
        raise InvalidConfig(findings.problems())
    paths = {key: root / fields.pop(key) for key in _PATHS if key in fields}
    given = {**paths, **fields}
    return _with_found(
        WorkspaceConfig(
            root=root,
            runs_dir=given.pop("runs_dir", defaults.runs_dir),
            metadata_db=given.pop("metadata_db", defaults.metadata_db),
            **given,
        )
    )


def _with_found(config: WorkspaceConfig) -> WorkspaceConfig:
    """With the secrets file that lies in the workspace, if none is named."""
    if config.secrets_file is not None:
        return config
    for name in SECRETS_FILES:
        if os.path.lexists(config.root / name):
            from msgspec.structs import replace

            return replace(config, secrets_file=config.root / name, secrets_found=True)
    return config


def settings_files(config: WorkspaceConfig) -> tuple[Path, ...]:
    """Every path, there or not, whose coming, going or change can change the configuration."""
    files = [config.root / CONFIG_FILE]
    if config.secrets_file is None or config.secrets_found:
        files += [config.root / name for name in SECRETS_FILES]
    else:
        files.append(config.secrets_file)
    return tuple(files)


_PATHS = ("runs_dir", "metadata_db", "secrets_file", "secrets_recipients", "age_identity")
