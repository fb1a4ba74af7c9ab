"""A real C code base, built by Pit and beside it by make: who compiles what after which edit.

The code base is Brotli's, 32 sources and 60 headers, which pip downloads from PyPI; none of it is
kept here. Both builders have the same rules and see the same edits. After each:

* Pit compiles exactly the sources whose bytes, headers' bytes or flags have changed, or whose
  object is not what was made of them; `Tree.stamps` finds that out by itself.
* Pit compiles nothing that make leaves alone, but for what make cannot see, because it looks at
  times and not at contents: an edit that keeps size and mtime, an object that was edited by
  hand, other CFLAGS, a new header that hides another. Each such edit says why, and is shown to
  fool make.
* All that a build from scratch makes, make being the one who builds it, stands in Pit's project
  byte for byte: objects, archive and program.

The tests share one workspace and stand in the order in which a person would do things.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pytest

from tests.builder import Pit

PACKAGE = "brotli==1.1.0"
SOURCES = 32

PIT_TOML = """
[dag]
name = "brotli"
concurrency = 2

# Which headers a source includes, with the includes' includes. All headers are inputs, for each may
# hide another; but a source whose own headers are as they were is not compiled.
[[tasks]]
name = "headers"
script = "headers.sh"
inputs = ["c/{unit}.c", "c/**/*.h"]
targets = ["build/headers/{unit}/"]
env = { CPPFLAGS = "-Ic/local -Ic/include" }
[tasks.matrix]
unit = { glob = "c/**/*.c" }

[[tasks]]
name = "object"
script = "object.sh"
inputs = ["c/{unit}.c", "build/headers/{unit}/"]
targets = ["build/objects/{unit}.o"]
env = { CPPFLAGS = "-Ic/local -Ic/include", CFLAGS = "-O0" }
[tasks.matrix]
unit = { glob = "c/**/*.c" }

[[tasks]]
name = "link"
script = "link.sh"
inputs = []
depends_on = ["object"]
targets = ["build/libbrotli.a", "build/brotli"]
"""

SCRIPTS = {
    "headers.sh": """
set -eu
made=build/headers/$PIT_MATRIX_UNIT
mkdir -p "$made"
for place in $(gcc $CPPFLAGS -MM "c/$PIT_MATRIX_UNIT.c"); do
    case $place in *.h) set -- "$@" "$place" ;; esac
done
[ $# -eq 0 ] || cp --parents "$@" "$made"
""",
    "object.sh": """
set -eu
gcc $CPPFLAGS $CFLAGS -c "c/$PIT_MATRIX_UNIT.c" -o "build/objects/$PIT_MATRIX_UNIT.o"
""",
    # It names the objects by the sources: that of a source which is gone may still lie about.
    "link.sh": """
set -eu
objects=$(find c -name '*.c' | LC_ALL=C sort | sed 's,^c/\\(.*\\)c$,build/objects/\\1o,')
ar rcsD build/libbrotli.a $objects
gcc -o build/brotli $objects -lm
""",
}

MAKEFILE = """
CPPFLAGS = -Ic/local -Ic/include
CFLAGS = -O0
OBJECTS := $(patsubst c/%.c,build/objects/%.o,$(shell find c -name '*.c' | LC_ALL=C sort))

build/brotli: $(OBJECTS)
	rm -f build/libbrotli.a
	ar rcsD build/libbrotli.a $(OBJECTS)
	gcc -o $@ $(OBJECTS) -lm

build/objects/%.o: c/%.c
	@mkdir -p $(@D)
	sh ../gcc.sh $(CPPFLAGS) $(CFLAGS) -MMD -MP -MT $@ -c $< -o $@

-include $(OBJECTS:.o=.d)
"""

# For make alone. What gcc makes follows from its arguments and the preprocessed text; when it gets
# both again, in another folder or later, it is not made to repeat itself.
GCC_FOR_MAKE = """
set -eu
gcc -E "$@"
for object; do :; done
kept=../kept/$({ echo "$@"; cat "$object"; } | sha256sum | cut -d ' ' -f 1)
[ -e "$kept" ] || { gcc "$@"; cp "$object" "$kept"; }
cp "$kept" "$object"
"""

Units = set[str]
"""Sources without folder `c/` and suffix: `enc/encode`."""

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("gcc", "ar", "make"))) and "CI" not in os.environ,
    reason="needs gcc and make (Debian: apt-get install gcc make)",
)


def output(argv: list[str], cwd: Path) -> str:
    """What a command prints, after asserting that it succeeded."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def digest(path: Path) -> str:
    """The digest of a file, by another road than Pit's."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@functools.cache
def includes(root: Path, state: str) -> list[list[str]]:
    """Each source with the headers that it includes, while the code base is in this state."""
    units = sorted(str(path.relative_to(root)) for path in (root / "c").rglob("*.c"))
    rules = output(["gcc", "-Ic/local", "-Ic/include", "-MM", *units], root)
    return [rule.partition(":")[2].split() for rule in rules.replace("\\\n", " ").splitlines()]


class Tree(NamedTuple):
    """A folder with the code base, and what has been built of it."""

    root: Path

    @property
    def flags(self) -> str:
        """What stands in the Makefile or the pit.toml for the compiler."""
        found = [self.root / name for name in ("Makefile", "pit.toml")]
        text = next(path.read_text() for path in found if path.is_file())
        return next(line for line in text.splitlines() if "CFLAGS = " in line and "-O0" in line)

    def sources(self) -> dict[str, bytes]:
        """All sources and headers, by place."""
        found = (path for path in (self.root / "c").rglob("*") if path.is_file())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in found}

    def state(self) -> str:
        """A digest of all sources, headers and flags."""
        return hashlib.sha256(
            repr((sorted(self.sources().items()), self.flags)).encode()
        ).hexdigest()

    def object(self, unit: str) -> Path:
        """What is compiled of a source."""
        return self.root / "build/objects" / f"{unit}.o"

    def built(self) -> dict[str, str]:
        """The digests of objects, archive and program, by place."""
        found = [*self.root.glob("build/objects/**/*.o"), *self.root.glob("build/*")]
        return {str(p.relative_to(self.root)): digest(p) for p in found if p.is_file()}

    def stamps(self) -> dict[str, tuple[str, ...]]:
        """For each source all that its object follows from, and the object that there is."""
        found: dict[str, tuple[str, ...]] = {}
        for places in includes(self.root, self.state()):
            unit = places[0][2:-2]
            made = self.object(unit)
            facts = [f"{place} {digest(self.root / place)}" for place in places]
            found[unit] = (self.flags, *facts, digest(made) if made.is_file() else "")
        return found

    def write(self, place: str, old: str, new: str) -> None:
        """Replace a piece of one file."""
        text = (self.root / place).read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {place}"
        (self.root / place).write_text(text.replace(old, new))


class Bench:
    """One code base twice: in Pit's project, and in a folder where make works."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.pit = Pit(folder / "workspace").project("brotli").toml(PIT_TOML)
        for name, text in SCRIPTS.items():
            self.pit.file(name, text)
        shutil.copytree(source, self.pit.folder / "c")
        self.ours = Tree(self.pit.folder)
        self._folder = folder
        (folder / "gcc.sh").write_text(GCC_FOR_MAKE)
        (folder / "kept").mkdir()
        self._scratch: dict[str, Tree] = {}

    def compiled(self) -> Units:
        """What Pit compiles when it is told to build."""
        events = self.pit.run("run", "brotli", "--json", timeout=300).ok().events
        tasks = [event["task"] for event in events if event["event"] == "attempt_started"]
        found = [unquote(task.partition(":")[2]) for task in tasks if task.startswith("object:")]
        assert len(found) == len(set(found)), "it compiles nothing twice"
        return set(found)

    def compiled_by_make(self, theirs: Tree) -> Units:
        """What make compiles when it is told to build."""
        lines = output(["make", "-j2"], theirs.root).splitlines()
        found = [line.split() for line in lines if " -c " in line]
        return {words[words.index("-c") + 1][2:-2] for words in found}

    def from_scratch(self) -> Tree:
        """What make builds of the sources as they are now, in a folder with nothing else in it."""
        key = self.ours.state()
        if key not in self._scratch:
            tree = Tree(self._folder / f"scratch{len(self._scratch)}")
            shutil.copytree(self.ours.root / "c", tree.root / "c")
            makefile = MAKEFILE.replace("-O0", "-O0 -fPIC" if "-fPIC" in self.ours.flags else "-O0")
            (tree.root / "Makefile").write_text(makefile)
            output(["make", "-j2"], tree.root)
            self._scratch[key] = tree
        return self._scratch[key]

    def theirs(self) -> Tree:
        """A folder where make has built what Pit has now, so that both see the same edit."""
        place = self._folder / "make"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.from_scratch().root, place)  # the times stay
        return Tree(place)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C sources as they are in the package."""
    folder = tmp_path_factory.mktemp("package")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", "."]
    output([*pip, "--no-binary", PACKAGE.partition("=")[0], PACKAGE], folder)
    (package,) = folder.glob("*.tar.gz")
    with tarfile.open(package) as archive:
        archive.extractall(folder, filter="data")
    (found,) = folder.glob("*/c")
    return found


@pytest.fixture(scope="module")
def bench(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Both, with everything built once."""
    bench = Bench(tmp_path_factory.mktemp("bench"), source)
    assert len(bench.compiled()) == SOURCES
    return bench


# ---------------------------------------------------------------- edits


class Edit(NamedTuple):
    """Something that a person does to the code base.

    `compiles` is how many sources it concerns, `alters` whether the program comes out different.
    `unseen` says why make misses them, if it does; `needless` how many others make compiles.
    """

    name: str
    does: Callable[[Tree], None]
    compiles: range
    alters: bool = False
    unseen: str = ""
    needless: int = 0


NONE, ONE, SOME, ALL = range(1), range(1, 2), range(2, SOURCES - 1), range(SOURCES, SOURCES + 1)

DECODER, HEADER, ADDED = "c/dec/bit_reader.c", "c/dec/huffman.h", "c/enc/added.c"


def touch_all(tree: Tree) -> None:
    """New times for everything, as a fresh checkout has them."""
    for place in tree.sources():
        os.utime(tree.root / place)


def keep_size_and_time(tree: Tree) -> None:
    """Change one digit and put the old time back."""
    path = tree.root / DECODER
    before = path.stat()
    tree.write(DECODER, "0x00000007,", "0x00000006,")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def delete_and_restore(tree: Tree) -> None:
    """Delete an object, think better of it, and take it out of the backup."""
    made = tree.object("enc/encode")
    backup = made.read_bytes()
    made.unlink()
    made.write_bytes(backup)


def spoil(tree: Tree) -> None:
    """Edit an object by hand."""
    made = tree.object("enc/cluster")
    made.write_bytes(made.read_bytes().replace(b"GCC: (", b"HCC: ("))


def hide_a_header(tree: Tree) -> None:
    """Put another version of a public header where the compiler looks first."""
    place = "c/local/brotli/decode.h"
    (tree.root / place).parent.mkdir(parents=True)
    shutil.copy(tree.root / "c/include/brotli/decode.h", tree.root / place)
    tree.write(place, "UNREACHABLE, -31", "UNREACHABLE, -32")


def add(tree: Tree) -> None:
    """Write a new source."""
    (tree.root / ADDED).write_text("int added = 1;\n")


def other_flags(tree: Tree) -> None:
    """Ask for position-independent code."""
    for name in ("Makefile", "pit.toml"):
        if (tree.root / name).is_file():
            text = (tree.root / name).read_text()
            (tree.root / name).write_text(text.replace("-O0", "-O0 -fPIC"))


EDITS = [
    Edit("nothing", lambda tree: None, NONE),
    Edit("touch", touch_all, NONE, needless=SOURCES),
    Edit(
        "content of a source",
        lambda tree: tree.write(DECODER, "0x0000000F,", "0x0000000E,"),
        ONE,
        alters=True,
    ),
    Edit(
        "comment in a source",
        lambda tree: tree.write(DECODER, "/* Bit reading helpers */", "/* It reads bits. */"),
        ONE,
    ),
    Edit(
        "content of a header",
        lambda tree: tree.write(HEADER, "MAX_SIZE_272 646", "MAX_SIZE_272 1646"),
        SOME,
        alters=True,
    ),
    Edit(
        "same size and mtime",
        keep_size_and_time,
        ONE,
        alters=True,
        unseen="the time is the old one",
    ),
    Edit("object deleted", lambda tree: tree.object("enc/encode").unlink(), ONE),
    Edit("object deleted and restored", delete_and_restore, NONE),
    Edit("object edited", spoil, ONE, unseen="the object is younger than its source"),
    Edit("source added", add, ONE, alters=True),
    Edit("source removed", lambda tree: (tree.root / ADDED).unlink(), NONE, alters=True),
    Edit("header that nobody includes", lambda tree: (tree.root / "c/enc/new.h").touch(), NONE),
    Edit(
        "header hidden by another",
        hide_a_header,
        SOME,
        alters=True,
        unseen="the old header is as it was",
    ),
    Edit("CFLAGS", other_flags, ALL, alters=True, unseen="flags have no time"),
]


def test_the_first_build_is_that_of_make_and_works(bench: Bench) -> None:
    assert bench.ours.built() == bench.from_scratch().built()
    program, packed = bench.ours.root / "build/brotli", bench.pit.root / "packed"
    output([str(program), "-o", str(packed), "pit.toml"], bench.ours.root)
    assert packed.stat().st_size < len(PIT_TOML)
    assert output([str(program), "-dc", str(packed)], bench.ours.root) == PIT_TOML


@pytest.mark.parametrize(
    "edit",
    [
        # Compiling everything again takes as long as all the others.
        pytest.param(edit, marks=[pytest.mark.slow] if edit.compiles == ALL else [])
        for edit in EDITS
    ],
    ids=[edit.name.replace(" ", "-") for edit in EDITS],
)
def test_after_an_edit(bench: Bench, edit: Edit) -> None:
    ours, theirs = bench.ours, bench.theirs()
    before, was = ours.stamps(), bench.from_scratch().built()
    edit.does(ours)
    edit.does(theirs)
    after = ours.stamps()
    due = {unit for unit, stamp in after.items() if stamp != before.get(unit)}
    assert len(due) in edit.compiles, "the edit is what it says"

    compiled, by_make = bench.compiled(), bench.compiled_by_make(theirs)
    assert compiled == due
    assert compiled - by_make == (due if edit.unseen else set())
    assert len(by_make - compiled) == edit.needless
    scratch, built = bench.from_scratch().built(), ours.built()
    assert (scratch["build/brotli"] != was["build/brotli"]) == edit.alters
    assert {place: built.get(place) for place in scratch} == scratch
    assert bench.compiled() == set(), "a second run finds nothing to do"
