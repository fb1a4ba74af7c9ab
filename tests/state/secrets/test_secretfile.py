"""Secrets files on disk: encrypted and plain, read by content, replaced without a way to lose."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pit.errors import (
    CannotDecrypt,
    CannotEncrypt,
    DiskFull,
    SecretsInvalid,
    SecretsNotWritten,
    SecretsUnreadable,
)
from pit.fs.replace import alone, create, replace
from pit.state.secrets import age, identities, recipients
from pit.state.secrets.edit import Edit
from pit.state.secrets.identities import Source
from pit.state.secrets.secretfile import Place, read
from pit.state.secrets.secrets import Secrets
from tests.state.secrets import agetool
from tests.state.secrets.passphrases import PASSPHRASE, sealed
from tests.state.store import disks

PLAIN = b'[global]\nkey = "hunter2-hunter2"\n'


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Where a fresh key comes from."""
    private, _ = identities.generate()
    file = tmp_path / "key.txt"
    file.write_text(f"# mine\n{private}\n")
    file.chmod(0o600)
    return Source(given=file, variables={})


@pytest.fixture
def public(source: Source) -> str:
    """The public half of that key."""
    return source.identity().public[0]


def placed(path: Path, source: Source) -> Place:
    """A secrets file with the usual recipients beside it."""
    return Place(path, path.with_name(recipients.NAME), source)


def encrypted(path: Path, *keys: str, plain: bytes = PLAIN, listed: bool = True) -> Path:
    """An encrypted file and its recipients file."""
    path.write_bytes(age.encrypt(plain, keys))
    if listed:
        path.with_name(recipients.NAME).write_text("".join(f"{key}\n" for key in keys))
    return path


# -------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("name", ["secrets.toml", "secrets.toml.age"])
@pytest.mark.parametrize("armoured", [False, True])
def test_encryption_is_told_by_content(
    tmp_path: Path, source: Source, public: str, name: str, armoured: bool
) -> None:
    file = tmp_path / name
    file.write_bytes(age.encrypt(PLAIN, [public], armoured=armoured))
    assert Secrets.load(file, source).resolve("any", "key") == "hunter2-hunter2"
    file.write_bytes(PLAIN)
    file.chmod(0o600)
    loaded = Secrets.load(file, source)
    assert loaded.resolve("any", "key") == "hunter2-hunter2"
    assert any("not encrypted, whatever its name" in w for w in loaded.warnings) == (
        file.suffix == ".age"
    )


def test_armour_may_have_blank_lines_around_it_and_windows_line_ends(
    tmp_path: Path, source: Source, public: str
) -> None:
    armoured = age.encrypt(PLAIN, [public], armoured=True)
    file = tmp_path / "s"
    for content in (b"\n\n" + armoured + b"\n", armoured.replace(b"\n", b"\r\n")):
        file.write_bytes(content)
        assert read(file, source).plain == PLAIN


def test_an_encrypted_file_may_be_open_to_others(
    tmp_path: Path, source: Source, public: str
) -> None:
    file = encrypted(tmp_path / "s.age", public)
    file.chmod(0o644)
    assert Secrets.load(file, source).warnings == ()
    assert source.given is not None
    source.given.chmod(0o644)
    (warning,) = Secrets.load(file, source).warnings
    assert f"the identity {source.given} is open to other users (mode 0644)" in warning


def test_a_stranger_is_told_that_his_key_does_not_fit(
    tmp_path: Path, source: Source, public: str
) -> None:
    _, other = identities.generate()
    file = encrypted(tmp_path / "s.age", other)
    with pytest.raises(CannotDecrypt, match=r"not encrypted for your key \(it is for 1 recipient"):
        read(file, source)


def test_damage_is_told_from_a_wrong_key(tmp_path: Path, source: Source, public: str) -> None:
    whole = age.encrypt(PLAIN, [public])
    file = tmp_path / "s.age"
    for content in (whole[:-3], whole[:40], b"age-encryption.org/v1\n", b"age-encryption.org/v9\n"):
        file.write_bytes(content)
        with pytest.raises(CannotDecrypt, match="is damaged"):
            read(file, source)


def test_a_passphrase_opens_and_is_asked_for_once(tmp_path: Path) -> None:
    file = tmp_path / "s.age"
    file.write_bytes(sealed(PLAIN))
    asked: list[str] = []

    def ask(what: str) -> str:
        asked.append(what)
        return PASSPHRASE

    source = Source(ask=ask, variables={})
    assert source.asks(file.read_bytes())
    for _ in range(3):
        assert Secrets.load(file, source).resolve("any", "key") == "hunter2-hunter2"
    assert asked == [str(file)]
    assert not source.asks(file.read_bytes())
    # Whoever cannot ask either finds it open already.
    assert read(file, Source(variables={})).plain == PLAIN


def test_a_passphrase_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "s.age"
    file.write_bytes(sealed(PLAIN))
    with pytest.raises(CannotDecrypt, match="nobody is there to give it") as caught:
        read(file, Source(variables={}))
    assert "PIT_AGE_PASSPHRASE" in caught.value.hint
    with pytest.raises(CannotDecrypt, match="the passphrase does not open"):
        read(file, Source(variables={"PIT_AGE_PASSPHRASE": "wrong"}))
    given = Source(variables={"PIT_AGE_PASSPHRASE": PASSPHRASE})
    assert not given.asks(file.read_bytes())
    assert read(file, given).plain == PLAIN


@agetool.needs_age
def test_what_the_age_tool_encrypts_pit_reads_and_the_other_way_round(
    tmp_path: Path,
) -> None:
    key = tmp_path / "key.txt"
    public = agetool.keygen(key)
    source = Source(given=key, variables={})
    file = tmp_path / "s.age"
    for words in (["-r", public], ["-a", "-r", public]):
        file.write_bytes(agetool.encrypt(PLAIN, *words))
        place = placed(file, source)
        was_armoured = age.is_armoured(file.read_bytes())
        place.change(lambda plain: Edit(file).put(plain, "sales", "new", "value"))
        assert agetool.decrypt(file, key) == PLAIN + b'\n[sales]\nnew = "value"\n'
        assert age.is_armoured(file.read_bytes()) == was_armoured


@agetool.needs_age
@agetool.needs_ssh
@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_ssh_keys_both_ways(tmp_path: Path, kind: str) -> None:
    key = tmp_path / "id"
    public = agetool.ssh_keygen(key, kind)
    source = Source(given=key, variables={})
    file = tmp_path / "s.age"
    file.write_bytes(agetool.encrypt(PLAIN, "-r", public))
    assert read(file, source).plain == PLAIN
    (tmp_path / recipients.NAME).write_text(f"# me\n{public}\n")
    placed(file, source).change(lambda plain: plain, anew=True)
    assert agetool.decrypt(file, key) == PLAIN


# -------------------------------------------------------------------------------------- changing


def added(plain: bytes) -> bytes:
    """The text with an entry more."""
    return Edit(Path("s")).put(plain, "sales", "new", "value")


def test_a_changed_file_stays_encrypted_whatever_it_is_called(
    tmp_path: Path, source: Source, public: str
) -> None:
    _, other = identities.generate()
    file = encrypted(tmp_path / "secrets.toml", public, other)
    placed(file, source).change(added)
    assert age.recipients(file.read_bytes()) == ("X25519", "X25519")
    assert Secrets.load(file, source).resolve("sales", "new") == "value"
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_not_there_is_made_in_the_form_of_its_name(
    tmp_path: Path, source: Source, public: str
) -> None:
    plain, secret = tmp_path / "secrets.toml", tmp_path / "secrets.toml.age"
    for file in (plain, secret):
        placed(file, source).change(added)
        assert Secrets.load(file, source).resolve("sales", "new") == "value"
        assert file.stat().st_mode & 0o777 == 0o600
    assert plain.read_bytes() == b'[sales]\nnew = "value"\n'
    assert age.recipients(secret.read_bytes()) == ("X25519",)


def test_nobody_locks_himself_out(tmp_path: Path, source: Source, public: str) -> None:
    _, other = identities.generate()
    file = encrypted(tmp_path / "s.age", public)
    (tmp_path / recipients.NAME).write_text(f"{other}\n")
    before = file.read_bytes()
    with pytest.raises(CannotEncrypt, match="you could not read the file again"):
        placed(file, source).change(added)
    assert file.read_bytes() == before


def test_others_are_not_forgotten_for_want_of_a_recipients_file(
    tmp_path: Path, source: Source, public: str
) -> None:
    _, other = identities.generate()
    file = encrypted(tmp_path / "s.age", public, other, listed=False)
    before = file.read_bytes()
    with pytest.raises(CannotEncrypt, match="is encrypted for 2 recipients"):
        placed(file, source).change(added)
    assert file.read_bytes() == before
    # One's own file needs no list.
    encrypted(file, public, listed=False)
    placed(file, source).change(added)
    assert Secrets.load(file, source).resolve("sales", "new") == "value"


def test_a_text_that_is_no_secrets_file_never_becomes_one(tmp_path: Path, source: Source) -> None:
    file = tmp_path / "s.toml"
    file.write_bytes(PLAIN)
    for broken in (b"[global", b"[global]\nkey = 5\n", b"\xff", b"[acl]\nx = []\n"):
        with pytest.raises(SecretsInvalid):
            placed(file, source).change(lambda _, broken=broken: broken)  # type: ignore[misc]
    assert file.read_bytes() == PLAIN


def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path, source: Source) -> None:
    file = tmp_path / "s.toml"
    file.write_bytes(PLAIN)
    with pytest.raises(FileExistsError):
        placed(file, source).change(added, expected=b"what it was")
    assert file.read_bytes() == PLAIN


def test_a_link_stays_a_link_and_a_fifo_is_refused(tmp_path: Path, source: Source) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real/s.toml", tmp_path / "s.toml"
    real.write_bytes(PLAIN)
    link.symlink_to(real)
    placed(link, source).change(added)
    assert link.is_symlink()
    assert b'new = "value"' in real.read_bytes()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(SecretsUnreadable, match="not a regular file"):
        placed(fifo, source).change(added)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to own files for others")
def test_the_owner_stays(tmp_path: Path, source: Source) -> None:
    file = tmp_path / "s.toml"
    file.write_bytes(PLAIN)
    os.chown(file, 12345, 23456)
    placed(file, source).change(added)
    info = file.stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o777) == (12345, 23456, 0o600)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_file_of_somebody_else_is_not_taken_away_from_him() -> None:
    with disks.public_folder() as folder:
        file = folder / "s.toml"
        file.write_bytes(PLAIN)
        file.chmod(0o644)
        script = (
            "import os, sys; os.setgid(12345); os.setuid(12345)\n"
            "from pathlib import Path; from pit.fs.replace import alone, replace\n"
            "with alone(Path(sys.argv[1])) as real: replace(real, b'mine')"
        )
        words = [sys.executable, "-c", "import pit.fs.replace\n" + script, str(file)]
        done = subprocess.run(words, capture_output=True, text=True)
        assert "was not changed: it belongs to another user" in done.stderr
        assert file.read_bytes() == PLAIN
        assert os.listdir(folder) == ["s.toml"]


def test_nothing_is_left_beside_the_file(tmp_path: Path, source: Source) -> None:
    file = tmp_path / "s.toml"
    file.write_bytes(PLAIN)
    (tmp_path / ".pit-s.toml.0123456789ab.new").write_bytes(b"what a killed writer left")
    before = set(os.listdir(tmp_path)) - {".pit-s.toml.0123456789ab.new"}
    placed(file, source).change(added)
    assert set(os.listdir(tmp_path)) == before


def test_ten_at_once_lose_nothing(tmp_path: Path, source: Source, public: str) -> None:
    file = encrypted(tmp_path / "s.age", public)
    script = (
        "import sys; from pathlib import Path; from pit.state.secrets.identities import Source; "
        "from pit.state.secrets.edit import Edit; from pit.state.secrets.secretfile import Place; "
        "file, key, n = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]; "
        "place = Place(file, file.with_name('age-recipients.txt'), Source(given=key)); "
        "sys.stdin.read(); "
        "place.change(lambda plain: Edit(file).put(plain, 'global', f'k{n}', n))"
    )
    assert source.given is not None
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(file), str(source.given), str(number)],
            stdin=subprocess.PIPE,
        )
        for number in range(10)
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.close()
    assert [writer.wait(120) for writer in writers] == [0] * 10
    loaded = Secrets.load(file, source)
    assert [loaded.resolve("any", f"k{n}") for n in range(10)] == [str(n) for n in range(10)]
    assert sorted(os.listdir(tmp_path)) == ["age-recipients.txt", "key.txt", "s.age"]


def test_a_writer_that_is_killed_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    old, new = b"o" * 300_000, b"n" * 300_000
    file.write_bytes(old)
    script = (
        "import sys; from pathlib import Path; from pit.fs.replace import alone, replace; "
        "old, new = b'o' * 300_000, b'n' * 300_000\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    with alone(Path(sys.argv[1])) as real: replace(real, new)\n"
        "    with alone(Path(sys.argv[1])) as real: replace(real, old)\n"
    )
    for number in range(15):
        writer = subprocess.Popen(
            [sys.executable, "-c", script, str(file)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.002 * number)  # any instant will do
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert file.read_bytes() in (old, new)
    with alone(file) as real:
        replace(real, b"after")
    assert os.listdir(tmp_path) == ["s.toml"]


def test_a_full_disk_costs_nothing(source: Source) -> None:
    with disks.small_disk(1) as folder:
        file = folder / "s.toml"
        file.write_bytes(PLAIN)
        disks.fill(folder, leave=4096)
        long = "x" * 100_000
        with pytest.raises(DiskFull, match="was not changed") as caught:
            placed(file, source).change(lambda plain: Edit(file).put(plain, "sales", "new", long))
        assert caught.value.exit_code == 25
        assert file.read_bytes() == PLAIN
        assert sorted(os.listdir(folder)) == ["filler", "s.toml"]


def test_a_read_only_disk_says_so(source: Source) -> None:
    with disks.small_disk(1) as folder:
        file = folder / "s.toml"
        file.write_bytes(PLAIN)
        disks.make_read_only(folder)
        with pytest.raises(SecretsNotWritten, match="read-only"):
            placed(file, source).change(added)


def test_a_new_file_never_overwrites(tmp_path: Path) -> None:
    file = tmp_path / "key"
    create(file, b"one")
    with pytest.raises(FileExistsError):
        create(file, b"two")
    assert file.read_bytes() == b"one"
    assert file.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["key"]
