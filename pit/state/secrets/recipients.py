"""The recipients file: the public keys that a secrets file is encrypted for, one a line.

As age's own (`age -R`): `age1…` or SSH public keys, `#` comments, blank lines. Who can change this
file decides who reads the secrets after the next change, so it belongs under review like code.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pit.errors import CannotEncrypt
from pit.fs.replace import replace
from pit.model import Record, WorkspaceConfig
from pit.state.secrets import age

NAME = "age-recipients.txt"
_LARGEST = 1 << 20
_MODE = 0o644  # public keys


class Recipient(Record):
    """One public key, and the comment right above it or behind it."""

    key: str
    comment: str = ""
    line: int = 0


def file_for(config: WorkspaceConfig, secrets: Path) -> Path:
    """The recipients file of a secrets file."""
    return config.secrets_recipients or secrets.parent / NAME


def text(path: Path) -> str:
    """The recipients file as it is; empty for one that is not there."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise CannotEncrypt(f"the recipients file {path} is not a regular file")
        with open(path, "rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return ""
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise CannotEncrypt(f"the recipients file {path} cannot be read: {reason}") from error
    if len(content) > _LARGEST:
        raise CannotEncrypt(f"{path} is too large for a recipients file")
    return content.decode("utf-8", "replace")


def read(path: Path) -> tuple[Recipient, ...]:
    """The recipients, each of them checked; none for a file that is not there."""
    return tuple(_listed(text(path), str(path)))


def keys(path: Path) -> tuple[str, ...]:
    """The public keys of a recipients file."""
    return tuple(recipient.key for recipient in read(path))


def keys_in(listed: str, path: Path) -> tuple[str, ...]:
    """The public keys in the text of a recipients file, which errors call `path`."""
    return tuple(recipient.key for recipient in _listed(listed, str(path)))


def _lines(listed: str) -> list[str]:
    """The lines as age has them and as a review shows them: no other sign ends a line.

    Else what stands as a comment there could be a key here.
    """
    lines = listed.split("\n")
    return [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]


def _listed(listed: str, name: str) -> Iterator[Recipient]:
    comment = ""
    for number, line in enumerate(_lines(listed), 1):
        word = line.strip().lstrip("\ufeff")
        if not word or word.startswith("#"):
            comment = word.lstrip("# ")
            continue
        key, _, behind = word.partition(" #")
        _check(key, f"{name}:{number}")
        yield Recipient(key=key.strip(), comment=behind.strip() or comment, line=number)
        comment = ""


def _check(key: str, place: str) -> None:
    try:
        age.parse_recipient(key)
    except CannotEncrypt as error:
        raise CannotEncrypt(f"{place}: {error}", error.hint) from None


def same(one: str, other: str) -> bool:
    """Whether two public keys are the same, whatever comment an SSH key carries."""
    return one.split()[:2] == other.split()[:2]


def with_key(listed: str, key: str, comment: str = "") -> str | None:
    """The text of a recipients file with one key more; None if it is there already."""
    if any(same(each.key, key) for each in _listed(listed, NAME)):
        return None
    note = [f"# {' '.join(comment.split())}"] if comment.strip() else []
    return _joined([*_lines(listed), *note, key.strip()])


def without_key(path: Path, wanted: str) -> tuple[str, Recipient]:
    """The text without the key that is, or whose comment is, `wanted`; and that key.

    A comment right above it goes too, unless it stands above several keys.
    """
    listed = read(path)
    found = [each for each in listed if same(each.key, wanted) or each.comment == wanted]
    if not found:
        raise CannotEncrypt(
            f"there is no such recipient in {path}",
            "List them with: pit secrets list --recipients   (pit secrets rotate encrypts anew "
            "for those)",
        )
    if len({each.key for each in found}) > 1:
        raise CannotEncrypt(f'{len(found)} recipients are called "{wanted}"', "Give the key itself")
    lines = _lines(text(path))
    numbers = {each.line for each in listed}
    for each in reversed(found):
        begin = each.line - 1
        while each.line + 1 not in numbers and begin and lines[begin - 1].lstrip().startswith("#"):
            begin -= 1
        del lines[begin : each.line]
    return _joined(lines), found[0]


def swapped(listed: str, old: str, new: str) -> str:
    """The text of a recipients file with one key in the place of another, or at its end."""
    lines = _lines(listed)
    for each in _listed(listed, NAME):
        if same(each.key, old):
            lines[each.line - 1] = new
            return _joined(lines)
    return _joined([*lines, new])


def _joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def write(path: Path, listed: str) -> None:
    """Replaces a recipients file, whose lock is held (`replace.alone`).

    It holds nothing secret, so others may read it.
    """
    replace(Path(os.path.realpath(path)), listed.encode(), mode=_MODE)
