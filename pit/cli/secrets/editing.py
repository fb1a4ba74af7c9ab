"""`pit secrets edit`: the file in an editor, so that nothing is lost and nothing leaks.

The text that is edited lies in a private folder in memory, where there is one. What cannot become
the secrets file is kept beside it in the same form, encrypted if the file is, and taken up again
with --resume; if even that fails, it stays where it was edited, and the place is named.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import click

from pit.cli.options import Settings, command
from pit.cli.secrets.context import Context, differences, structured
from pit.cli.terminal.console import count
from pit.errors import BadArgument, PitError, SecretsInvalid, SecretsNotWritten
from pit.fs import replace
from pit.fs.files import remove_tree
from pit.fs.locks import Lock, held
from pit.state.secrets import age
from pit.state.secrets.identities import withheld
from pit.state.secrets.secretfile import Content, Place, absent, read, sealed
from pit.work.process import launch

_MEMORY = Path("/dev/shm")
_FOLDER, _LOCK = "pit-edit-", ".lock"
_KEPT = ".rejected"
_NOT_STARTED = {126: "cannot be started", 127: "is not there"}
_REMARK = b"# pit: "
_TEMPLATE = b"""# Secrets: one table for each DAG, and [global] for all of them.
# [global]
# api_key = "..."
# [global.warehouse]
# driver = "postgres"
"""


@command("edit", short_help="Edit the file in your editor.")
@click.option("--resume", is_flag=True, help="Go on with an edit that could not be saved.")
def edit(settings: Settings, resume: bool) -> None:
    """Edit the secrets file, decrypted for that time, in $VISUAL, $EDITOR or vi.

    What you save is checked and takes the place of the file whole, encrypted anew if it was
    encrypted. An edit that cannot be used is kept, and --resume goes on with it.
    """
    context = Context.of(settings)
    place = context.place()
    content = context.read(place) if place.path.exists() else absent(place.path)
    draft = _kept_draft(context, place, content) if resume else content.plain or _TEMPLATE
    if not resume and _kept_file(place).exists():
        again = settings.again("secrets edit --resume")
        settings.console.warning("there is an edit that was never saved", f"Go on with it: {again}")
    if content.raw:
        # Whoever looks at all of it has read it, whether or not he changes anything.
        context.record([("read", "", "")], place.path, "edit")
    session = Session(context, place, content, draft, resumed=resume)
    with launch.ending_in_order(), _private_folder(context) as folder:
        session.work(folder / f"{place.path.name.removesuffix('.age')}")


def _kept_file(place: Place) -> Path:
    # As all of Pit's own files it begins with what a workspace's .gitignore leaves out.
    return place.path.with_name(f".pit-{place.path.name}{_KEPT}")


def _kept_draft(context: Context, place: Place, content: Content) -> bytes:
    """The edit that was kept; at its top stands what has become of the file since it began."""
    kept = _kept_file(place)
    if not kept.exists():
        raise BadArgument(f"there is no edit to resume: there is no {kept}")
    plain = read(kept, context.source).plain
    text = _without_remarks(plain)
    if plain.startswith(_began(content)):
        return text
    remarks = [
        "somebody has changed the file since this edit began.",
        "To save it all the same, remove these lines.",
    ]
    with suppress(SecretsInvalid):
        pair = structured(place.path, content.plain), structured(place.path, text)
        remarks += [
            f"Saving this will leave {scope}.{name} {what}."
            for what, scope, name in differences(*pair)
        ]
    context.settings.console.warning("somebody has changed the file since this edit began")
    return b"".join(_REMARK + remark.encode() + b"\n" for remark in remarks) + text


def _began(content: Content) -> bytes:
    """The line by which a kept edit tells from what it began."""
    return _REMARK + b"this edit began from " + hashlib.sha256(content.raw).hexdigest().encode()


def _without_remarks(text: bytes) -> bytes:
    while text.startswith(_REMARK):
        text = text.partition(b"\n")[2]
    return text


@contextmanager
def _private_folder(context: Context) -> Iterator[Path]:
    """A folder for the editor, in memory if possible; gone afterwards unless it has to stay."""
    where = _MEMORY if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK | os.X_OK) else None
    _warn_of_leftovers(context, where or Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER, dir=where))
    lock = Lock(folder / _LOCK)
    lock.acquire()
    if where is None:
        context.settings.console.warning(
            f"no in-memory folder is available: while you edit, the text is on disk in {folder}"
        )
    with ExitStack() as stack:
        stack.callback(lock.release)
        stack.push(lambda kind, *_: None if kind is _Stranded else remove_tree(folder))
        yield folder


def _warn_of_leftovers(context: Context, where: Path) -> None:
    """Name the folders of edits that were killed: secrets lie there, and perhaps the only copy."""
    for folder in sorted(where.glob(f"{_FOLDER}*")):
        with suppress(OSError):
            info, lock = os.lstat(folder), folder / _LOCK
            is_own = stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid()
            if is_own and lock.exists() and not held(lock):
                context.settings.console.warning(
                    f"an edit that was cut short lies in {folder}, in plain text",
                    f"Take from it what you need, then: rm -r {folder}",
                )


class _Stranded(SecretsNotWritten):
    """An edit that could be kept nowhere but where it was made."""


class Session:
    """One edit: from the draft that the editor opens to the new file, or to what is kept."""

    def __init__(
        self, context: Context, place: Place, content: Content, draft: bytes, *, resumed: bool
    ) -> None:
        self._context, self._place, self._content = context, place, content
        self._draft, self._resumed = draft, resumed
        self._console = context.settings.console

    def work(self, file: Path) -> None:
        """Let the text be edited in `file` until it can be used, or is given up and kept."""
        replace.create(file, self._draft)
        with ExitStack() as stack:
            stack.push(lambda _kind, error, _trace: self._keep(file, error) if error else None)
            while not self._edited(file):
                pass

    def _edited(self, file: Path) -> bool:
        """Whether the edit came to an end: saved, or nothing to save."""
        code = launch.attended([*editor(), str(file)], cwd=os.getcwd(), env=withheld(os.environ))
        if code:
            ended = _NOT_STARTED.get(code, f"ended with exit code {code}")
            raise SecretsNotWritten(
                f"the editor {ended}; {self._place.path} was not changed",
                f"The editor was: {shlex.join(editor())}   (from $VISUAL or $EDITOR)",
            )
        written = file.read_bytes()
        if written.startswith(_REMARK) and written == self._draft:
            self._console.out("Nothing was saved: the edit is kept as it was.")
            return True
        text = _without_remarks(written)
        if text == self._content.plain or (not self._content.raw and text == self._draft):
            self._console.out("Nothing was changed.")
            return self._done()
        try:
            after = structured(self._place.path, text)
        except SecretsInvalid as error:
            self._console.error(str(error), error.hint)
            if not self._console.ask("Edit it again?"):
                raise SecretsInvalid(
                    f"{self._place.path} was not changed: the edit is not a secrets file"
                ) from None
            return False
        self._save(text)
        before = structured(self._place.path, self._content.plain)
        changes = differences(before, after)
        self._context.record(changes or [("edited", "", "")], self._place.path, "edit")
        self._console.out(f"Saved {self._place.path} ({count(len(changes), 'change')})")
        return self._done()

    def _done(self) -> bool:
        if self._resumed:
            with suppress(FileNotFoundError):
                os.unlink(_kept_file(self._place))
        return True

    def _save(self, text: bytes) -> None:
        try:
            self._place.change(lambda _: text, expected=self._content.raw)
        except FileExistsError:
            raise SecretsNotWritten(
                f"{self._place.path} was changed by somebody else while you edited it",
                "Look at both, then: pit secrets edit",
            ) from None

    def _keep(self, file: Path, error: BaseException) -> None:
        """Keep what was edited and not saved, in the form of the secrets file."""
        with suppress(OSError):
            text = _without_remarks(file.read_bytes())
            if text in (self._content.plain, _without_remarks(self._draft)):
                return
            kept = _kept_file(self._place)
            if not self._resumed:
                _set_aside(kept)
            try:
                with replace.alone(kept) as real:
                    replace.replace(real, self._sealed(_began(self._content) + b"\n" + text))
            except PitError as trouble:
                raise _Stranded(
                    f"{str(error) or 'interrupted'}; the edit could not be kept either ({trouble})",
                    f"It is still in {file}, in plain text: take it from there, then remove it",
                ) from None
            self._console.note(f"Your edit is kept in {kept}")
            self._console.note(
                f"Go on with it: {self._context.settings.again('secrets edit --resume')}"
            )

    def _sealed(self, text: bytes) -> bytes:
        raw, armoured = self._content.raw, age.is_armoured(self._content.raw)
        if not self._content.is_encrypted and (raw or self._place.path.suffix != ".age"):
            return text
        if age.wants_passphrase(raw):
            passphrase = self._context.source.passphrase(str(self._place.path))
            return age.encrypt_with_passphrase(text, passphrase, armoured=armoured)
        # For oneself alone: others have no business in an edit that was given up.
        identity = self._content.identity or self._place.source.identity()
        own = identity.public or self._place.keys(self._content, identity)
        return sealed(text, own, identity, armoured=armoured)


def _set_aside(kept: Path) -> None:
    """Gives an edit that was kept earlier a name of its own."""
    if os.path.lexists(kept):
        names = (kept.with_name(f"{kept.name}-{number}") for number in range(1, 1000))
        os.rename(kept, next(name for name in names if not os.path.lexists(name)))


def editor() -> list[str]:
    """The words of the editor's command line, split as a shell would."""
    given = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        words = shlex.split(given)
    except ValueError:
        words = []
    if not words:
        raise BadArgument(f"$VISUAL or $EDITOR cannot be read as a command: {given}")
    return words
