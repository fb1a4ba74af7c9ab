"""doit's own commands in this project: `doit list`, `doit info DAG:TASK`, `doit run DAG`.

The tasks stand in pit.toml, and Pit carries them out. In a folder below, add -k.
"""

try:
    from pit.dodo import project
except ImportError as error:
    raise SystemExit(
        f"this dodo.py needs Pit where doit is installed: {error}\n"
        "Install both: uv tool install pit-orchestrator --with-executables-from doit"
    ) from None

tasks = project(__file__)
