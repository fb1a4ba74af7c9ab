"""No command shows a value that it was not asked for, whatever goes wrong; nor do its errors."""

from __future__ import annotations

import os
import shutil
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from pit.cli import main
from pit.cli.terminal.console import Console
from pit.errors import PitError
from pit.state.secrets import age, identities
from tests.state.secrets.passphrases import sealed

VALUE = "sentinel-7f3a-value"

GOOD = f"""[global]
api_key = "{VALUE}"
db = {{ driver = "postgres", host = "h", password = "{VALUE}" }}
[sales]
own = "{VALUE}"
"""
BROKEN = [
    f'{GOOD}[global]\nagain = "{VALUE}"\n',
    f'{GOOD}\n"{VALUE}',
    f"{GOOD}\nx = {VALUE}",
    f'{GOOD}\nlist = ["{VALUE}"]',
    f'{GOOD}\n[other]\nfields = {{ a = {{ b = "{VALUE}" }} }}',
    f'{GOOD}\n[acl]\napi_key = "{VALUE}"',
    f'stray = "{VALUE}"\n{GOOD}',
]

COMMANDS = [
    "list",
    "list --json",
    "list sales",
    "list --recipients",
    "get sales nothing",
    "get global db --field nothing",
    "get nobody own",
    "set global other --field a=1",
    "set global api_key --field a=1",
    "set global db --only sales",
    "remove global db --field nothing",
    "remove global db --field host",
    "remove global nothing",
    "encrypt",
    "encrypt -o {root}/there",
    "decrypt -o {root}/there",
    "edit",
    "rotate",
    "rotate --new-key",
    "add-recipient age1nonsense",
    "add-recipient {other}",
    "remove-recipient nobody",
    "remove-recipient {own}",
    "keygen",
    "keygen -o {root}/there",
    "audit",
    "audit --json",
]
OUTSIDE = ["validate", "validate --json", "plan sql", "why sql/a", "status", "run sql"]


class Files:
    """A workspace, the user's key, and what has been raised."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.private, self.own = identities.generate()
        _, self.other = identities.generate()
        self.raised: list[BaseException] = []

    def lay(self, content: bytes) -> None:
        """Make the workspace anew, with this secrets file."""
        shutil.rmtree(self.root, ignore_errors=True)
        (self.root / "projects/sql").mkdir(parents=True)
        (self.root / "projects/sql/pit.toml").write_text(
            '[dag.sql]\nconnection = "db"\n[[tasks]]\nname = "a"\nscript = "a.sql"\n'
        )
        (self.root / "projects/sql/a.sql").write_text("select 1")
        (self.root / "pit_config.toml").write_text('secrets_dir = "secrets"\nage_identity = "key"')
        (self.root / "key").write_text(self.private)
        (self.root / "key").chmod(0o600)
        (self.root / "there").write_text("is in the way")
        (self.root / "age-recipients.txt").write_text(f"{self.own}\n")
        (self.root / "secrets").write_bytes(content)
        (self.root / "secrets").chmod(0o600)

    def call(self, words: str) -> int:
        """Run one command in this process."""
        given = words.format(root=self.root, own=self.own, other=self.other).split()
        return main.main(["--project-dir", str(self.root), "--verbose", *given])


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    """A workspace whose errors are collected, with an editor that breaks what it edits."""
    for name in [name for name in os.environ if name.startswith("PIT_")]:
        monkeypatch.delenv(name)
    found = Files(tmp_path / "ws")
    show = main.failed

    def failed(console: Console, error: PitError) -> int:
        found.raised.append(error)
        return show(console, error)

    monkeypatch.setattr(main, "failed", failed)
    monkeypatch.setenv("EDITOR", f"sed -i '1i {VALUE} = {VALUE}'")
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        yield found


def everything(error: BaseException | None) -> str:
    """All that an error can show: its texts, what hangs on it, and what it was raised from."""
    if error is None:
        return ""
    own = f"{error!r} {error.args!r} {vars(error)!r} {''.join(traceback.format_exception(error))}"
    other = [str(getattr(error, name, "")) for name in ("object", "doc", "hint")]
    return " ".join([own, *other, everything(error.__cause__), everything(error.__context__)])


def contents(files: Files) -> dict[str, bytes]:
    """One secrets file of each kind, good and broken."""
    good = GOOD.encode()
    kinds = {
        "plain": good,
        "encrypted": age.encrypt(good, [files.own]),
        "for somebody else": age.encrypt(good, [files.other]),
        "damaged": age.encrypt(good, [files.own])[:-1],
        "passphrase": sealed(good),
        "not UTF-8": good + b'x = "\xff"\n',
        "empty": b"",
    }
    kinds |= {f"broken {n}": text.encode() for n, text in enumerate(BROKEN)}
    return kinds | {"broken, encrypted": age.encrypt(BROKEN[0].encode(), [files.own])}


@pytest.mark.parametrize("words", [*COMMANDS, *(f" {words}" for words in OUTSIDE)])
def test_no_command_shows_a_value(
    files: Files, capfd: pytest.CaptureFixture[str], words: str
) -> None:
    command = words.strip() if words.startswith(" ") else f"secrets {words}"
    kinds = contents(files)
    if words == " run sql":  # each starts processes
        kinds = {kind: kinds[kind] for kind in ("plain", "damaged", "broken 0")}
    for kind, content in kinds.items():
        files.lay(content)
        files.raised.clear()
        code = files.call(command)
        out, err = capfd.readouterr()
        assert VALUE not in out + err, f"{command} on a file that is {kind}"
        assert files.private not in out + err
        assert code != main.EXIT_INTERNAL, err
        for error in files.raised:
            assert VALUE not in everything(error), f"{command} on a file that is {kind}"
            assert files.private not in everything(error)
        for path in files.root.rglob("*"):
            if path.is_file() and path.name not in ("secrets", ".pit-secrets.rejected"):
                assert VALUE.encode() not in path.read_bytes(), f"{path} after {command}, {kind}"
        if content.startswith(b"age"):
            assert VALUE.encode() not in (files.root / "secrets").read_bytes()
