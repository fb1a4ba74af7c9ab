"""The base of a snapshot: that of an earlier run, brought up to date instead of copied anew.

Tasks have worked in it. So a file of it stays only if two things are as they were when it was
copied: the live file, and the copy itself, each by its five numbers (pit/fs/stat.py). The change
time among them moves with whatever is done to a file: its bytes, permissions, owner, attributes
and names, and also when a program puts the modification time back. What is doubtful is copied
anew, always into a new file, never into the one that is there: one that has another name elsewhere,
a live file that was noted so soon after an edit that another could bear the same time. A copy that
tasks could have changed in the very instant when it was noted is compared byte by byte, once. All
that the project does not have goes.

Nothing here asks how a base came to be as it is, nor whose it was: a base of another project, of
other rules or of another disk is a bad one, not a wrong one. One that cannot be set right, or of
which something is beyond what these numbers tell, is `Unfit`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pit.errors import on_error
from pit.fs.files import remove_tree
from pit.fs.stat import YOUNG_BY_SECONDS, signature, young_for
from pit.project.manifest import Copied, Manifest
from pit.project.selection import Found
from pit.project.snapshot.listing import FOLDER, Listing

Discard = Callable[[Path], bool]
"""Sets a folder aside, to be removed later; False if it cannot."""

_SMALL = 1 << 20
"""Up to this size, a file is removed faster than set aside."""
_GIVEN = ("system.", "user.")
"""How the names of attributes begin that nothing in a snapshot has by itself."""
_PIECE = 1 << 20


class Unfit(Exception):
    """The base cannot be used, and is as if it were not there; it was changed in part."""


class Base:
    """A base at work. `began` says from when on tasks may have written into it (Unix ns); `owner`
    is the `stat` of a folder as a copy would have it: its disk, owner and group. `checkpoint` is
    called every few milliseconds and may raise.
    """

    def __init__(
        self,
        manifest: Manifest,
        began: int,
        owner: os.stat_result,
        discard: Discard = lambda _: False,
        checkpoint: Callable[[], None] = lambda: None,
    ) -> None:
        self.manifest = manifest
        self._files, self._began = manifest.files, began
        self._settled = began - YOUNG_BY_SECONDS  # whatever was noted before that
        self._owner = (owner.st_dev, owner.st_uid, owner.st_gid)
        self._discard, self._checkpoint = discard, checkpoint
        self._differs = False

    # ------------------------------------------------ is the project as it was?

    def told(self, place: str, copied: Copied | None) -> None:
        """A file was copied anew: how it looked is how it did for the base, or it is not."""
        before = self._files.get(place)
        if copied is None or before is None or before.live != copied.live:
            self._differs = True

    def equals(self, taken: Manifest) -> bool:
        """Whether what was found of the project is all that the base was copied from.

        Then it is as it was before the walk began: no second look is needed.
        """
        return (
            not self._differs
            and taken.files.keys() == self._files.keys()
            and taken.folders == self.manifest.folders
            and taken.links == self.manifest.links
        )

    # ------------------------------------------------ folders

    def set_right(
        self,
        live: str,
        twin: str,
        place: str,
        found: Listing,
        files: list[Found],
        kept: dict[str, Copied],
    ) -> list[Found] | None:
        """Rids a folder of all that is not to be there; the `files` that must be copied.

        None if there is no such folder. What stays joins `kept`, by its place; `place` is that of
        the folder, with a slash, and `live` its path in the project. Sub-folders, and what stands
        in the places of links, are as they were until it is their turn. Unfit if it cannot be done.
        """
        try:
            folder = self._opened(twin)
            try:
                with os.scandir(folder) as entries:
                    there = {entry.name: entry for entry in entries}
                left = self._files_of((live, twin), place, files, there, kept)
                for name in found.folders:
                    entry = there.get(name)
                    if entry is not None and entry.is_dir(follow_symlinks=False):
                        del there[name]
                for name in found.links:
                    there.pop(name, None)
                for name, entry in there.items():
                    self._remove(f"{twin}/{name}", entry, folder)
                return left
            finally:
                os.close(folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unfit(str(error)) from error

    def _opened(self, twin: str) -> int:
        try:
            folder = os.open(twin, FOLDER)
        except PermissionError:
            os.chmod(twin, 0o700)
            folder = os.open(twin, FOLDER)
        with on_error(lambda: os.close(folder)):
            info = os.fstat(folder)
            if (info.st_dev, info.st_uid, info.st_gid) != self._owner:
                raise Unfit(f"{twin} is not where or whose it was")
            if _is_given(_attributes(folder)):
                raise Unfit(f"{twin} has attributes or gives others rights")
            if info.st_mode & 0o700 != 0o700:
                os.fchmod(folder, 0o700)
        return folder

    def _files_of(
        self,
        folders: tuple[str, str],
        place: str,
        files: list[Found],
        there: dict[str, os.DirEntry[str]],
        kept: dict[str, Copied],
    ) -> list[Found]:
        """Which of the files of a folder must be copied; those that stay are not `there` after."""
        left = []
        # Most of the time of a run with nothing new goes by here: what is needed for each file is
        # written out, which takes two thirds of the time that calls would.
        known, settled = self._files.get, self._settled
        for each in files:
            name, live = each
            copied = known(place + name)
            if (
                copied is None
                or not copied.settled
                or copied.live
                != (live.st_dev, live.st_ino, live.st_size, live.st_mtime_ns, live.st_ctime_ns)
            ):
                self._differs = True
            elif entry := there.get(name):
                copy = entry.stat(follow_symlinks=False)
                if (
                    copied.copy
                    == (copy.st_dev, copy.st_ino, copy.st_size, copy.st_mtime_ns, copy.st_ctime_ns)
                    and copy.st_nlink == 1
                    and (
                        copy.st_ctime_ns < settled
                        or self._stays(live, copy, f"{folders[0]}/{name}", f"{folders[1]}/{name}")
                    )
                ):
                    kept[place + name] = copied
                    del there[name]
                    continue
            left.append(each)
        return left

    def _stays(self, live: os.stat_result, copy: os.stat_result, path: str, twin: str) -> bool:
        """Whether a copy that looks as it was noted is as it was made, of a live file that is as it
        was then: a change in the instant in which it was noted would not show."""
        if young_for(copy.st_ctime_ns, self._began) <= 0:
            return True
        return (
            stat.S_IMODE(copy.st_mode) == stat.S_IMODE(live.st_mode)
            and (copy.st_dev, copy.st_uid, copy.st_gid) == self._owner
            and not _is_given(_attributes(twin))
            and self._are_alike(path, twin)
        )

    def _are_alike(self, *paths: str) -> bool:
        """Whether two files hold the same."""
        with open(paths[0], "rb", 0) as one, open(paths[1], "rb", 0) as other:
            while True:
                self._checkpoint()
                piece = one.read(_PIECE)
                if piece != other.read(_PIECE):
                    return False
                if not piece:
                    return True

    # ------------------------------------------------ what links are in a snapshot

    def has_link(self, twin: str, aim: str) -> bool:
        """Whether a link of this text is there; if not, its place is free afterwards."""
        with suppress(OSError):
            if os.readlink(twin) == aim and os.lstat(twin).st_nlink == 1:
                return True
        self.clear(twin)
        return False

    def has_file(self, real: str, twin: str, place: str, live: os.stat_result) -> Copied | None:
        """The copy of a file outside of the project that a link leads to, if it may stay; if not,
        its place is free afterwards."""
        copied = self._files.get(place)
        if copied is None or not copied.settled or copied.live != signature(live):
            self._differs = True
        else:
            with suppress(OSError):
                copy = os.lstat(twin)
                looks = copied.copy == signature(copy) and copy.st_nlink == 1
                if looks and self._stays(live, copy, real, twin):
                    return copied
        self.clear(twin)
        return None

    def clear(self, twin: str, but_a_folder: bool = False) -> None:
        """Frees a place, unless a folder is there and that may stay."""
        try:
            info = os.lstat(twin)
            if not (but_a_folder and stat.S_ISDIR(info.st_mode)):
                self._gone(twin, stat.S_ISDIR(info.st_mode) or info.st_size > _SMALL)
        except FileNotFoundError:
            return
        except OSError as error:
            raise Unfit(str(error)) from error

    def _remove(self, path: str, entry: os.DirEntry[str], folder: int) -> None:
        if (
            entry.is_dir(follow_symlinks=False)
            or entry.stat(follow_symlinks=False).st_size > _SMALL
        ):
            self._gone(path, True)
        else:
            os.unlink(entry.name, dir_fd=folder)

    def _gone(self, path: str, aside: bool) -> None:
        if not (aside and self._discard(Path(path))):
            remove_tree(Path(path))


def same_folder(twin: str, info: os.stat_result) -> bool:
    """Whether a folder has the permissions and the modification time of its model already."""
    now = os.lstat(twin)
    return now.st_mode == info.st_mode and now.st_mtime_ns == info.st_mtime_ns


def _attributes(of: int | str) -> list[str]:
    try:
        return os.listxattr(of)
    except (AttributeError, OSError):  # the file system knows none
        return []


def _is_given(attributes: list[str]) -> bool:
    return any(name.startswith(_GIVEN) for name in attributes)
