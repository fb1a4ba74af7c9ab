"""Single changes to the text of a secrets file: comments, order and oddities stay."""

from __future__ import annotations

import tomllib
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pit.errors import SecretNotFound, SecretsInvalid
from pit.state.secrets.edit import Edit

EDIT = Edit(Path("s.toml"))

ODD = """# Top of the file
[global] # here
a = "1" # one
b.c = "dotted"
b.d = 'literal'
"quoted key" = 'it''s'
inline = { user = "u", password = "p" } # both
many = \"\"\"
line one
line "two" \\
  joined\"\"\"
# about db
[global.db]
# inside
user = "u"

password = "p" # pw

# Who may have what
[acl]
a = ["x", "y"] # two

# about claims
["odd name"]
x = "1"
[claims.db]
u = "v"
""".replace("'it''s'", '"its"')


def put(text: str, *args: Any) -> str:
    """The text after an entry was set."""
    return EDIT.put(text.encode(), *args).decode()


def changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines that went and the lines that came."""
    old, new = before.splitlines(), after.splitlines()
    return [x for x in old if x not in new], [x for x in new if x not in old]


@pytest.mark.parametrize(
    ("scope", "key", "value", "gone", "come"),
    [
        ("global", "a", "2", 'a = "1" # one', 'a = "2" # one'),
        ("global", "new", 'x"\n', "", 'new = "x\\"\\n"'),
        ("odd name", "y", "2", "", 'y = "2"'),
        ("global", "many", "short", "many", 'many = "short"'),
        ("global", "quoted key", "q", '"quoted key" = "its"', '"quoted key" = "q"'),
        ("global", "b", {"c": "n", "d": "literal"}, 'b.c = "dotted"', 'b.c = "n"'),
        (
            "global",
            "db",
            {"user": "u", "password": "n"},
            'password = "p" # pw',
            'password = "n" # pw',
        ),
        (
            "global",
            "inline",
            {"user": "u", "password": "n"},
            'inline = { user = "u", password = "p" } # both',
            'inline = { user = "u", password = "n" } # both',
        ),
    ],
)
def test_only_the_line_that_was_meant_changes(
    scope: str, key: str, value: Any, gone: str, come: str
) -> None:
    went, came = changed_lines(ODD, put(ODD, scope, key, value))
    assert came == [come]
    if gone == "many":
        assert [line[:9] for line in went] == ['many = ""', "line one", 'line "two', '  joined"']
    else:
        assert went == ([gone] if gone else [])
    assert tomllib.loads(put(ODD, scope, key, value))[scope][key] == value


def test_a_new_entry_stands_below_the_last_of_its_table() -> None:
    text = '[global]\na = "1"\n# still a\n\n# about claims\n[claims]\nb = "1"\n'
    assert put(text, "global", "n", "v") == text.replace("# still a\n", '# still a\nn = "v"\n')
    structured = put(text, "global", "n", {"user": "u"})
    assert structured == text.replace("# still a\n", '# still a\nn = {user = "u"}\n')


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '[new]\nk = "v"\n'),
        ("# only a comment", '# only a comment\n\n[new]\nk = "v"\n'),
        ('[global]\na="1"', '[global]\na="1"\n\n[new]\nk = "v"\n'),
        (
            '[global]\n[global.db]\nu="1"\n\n\n',
            '[global]\n[global.db]\nu="1"\n\n\n[new]\nk = "v"\n',
        ),
        ('global.a = "1"\n', 'global.a = "1"\n\n[new]\nk = "v"\n'),
        ('[new.db]\nu = "1"\n[global]\n', '[new]\nk = "v"\n\n[new.db]\nu = "1"\n[global]\n'),
        ('new = {a = "1"}\n', 'new = {a = "1",k = "v"}\n'),
    ],
)
def test_a_table_is_begun_where_there_is_none(before: str, after: str) -> None:
    assert put(before, "new", "k", "v") == after


def test_windows_line_ends_and_a_byte_order_mark_stay() -> None:
    text = "\ufeff" + ODD.replace("\n", "\r\n")
    made = EDIT.put(text.encode(), "global", "new", "v")
    assert made.startswith(b"\xef\xbb\xbf# Top")
    assert made.count(b"\n") == made.count(b"\r\n")
    document = tomllib.loads(made.decode("utf-8-sig"))
    assert document["global"]["new"] == "v"


def test_tables_in_pieces() -> None:
    text = '[global.db]\nu = "1"\n[claims]\nx = "1"\n[global]\na = "1"\n'
    assert put(text, "global", "db", {"u": "2"}) == text.replace('u = "1"', 'u = "2"')
    assert put(text, "global", "b", "2") == text + 'b = "2"\n'
    made = EDIT.remove(text.encode(), "global", "a").decode()
    assert made == text.replace('[global]\na = "1"\n', "")


def test_fields_are_set_one_by_one() -> None:
    made = EDIT.put_fields(ODD.encode(), "global", "db", {"password": "n", "host": "h"}).decode()
    went, came = changed_lines(ODD, made)
    assert (went, came) == (['password = "p" # pw'], ['password = "n" # pw', 'host = "h"'])
    fresh = EDIT.put_fields(b"", "sales", "db", {"user": "u"}).decode()
    assert fresh == '[sales]\ndb = {user = "u"}\n'
    with pytest.raises(SecretsInvalid, match="is a plain value, it has no fields"):
        EDIT.put_fields(ODD.encode(), "global", "a", {"user": "u"})


def test_a_structured_secret_is_replaced_whole() -> None:
    made = put(ODD, "global", "db", {"token": "t"})
    assert tomllib.loads(made)["global"]["db"] == {"token": "t"}
    assert "# inside" in made


def test_removing_takes_the_access_rule_along() -> None:
    made = EDIT.remove(ODD.encode(), "global", "a").decode()
    document = tomllib.loads(made)
    assert "a" not in document["global"]
    assert document["acl"] == {}
    assert "# Who may have what" in made
    # A DAG's own secret of that name has nothing to do with it.
    own = put(ODD, "odd name", "a", "mine")
    assert tomllib.loads(EDIT.remove(own.encode(), "odd name", "a").decode())["acl"] == {
        "a": ["x", "y"]
    }


def test_removing_a_section_leaves_what_is_said_of_the_next() -> None:
    made = EDIT.remove(ODD.encode(), "global", "db").decode()
    went, came = changed_lines(ODD, made)
    assert came == []
    assert went == ["[global.db]", "# inside", 'user = "u"', 'password = "p" # pw']
    plain = put(ODD, "global", "db", "plain")
    assert changed_lines(ODD, plain) == (went, ['db = "plain"'])
    assert "# Who may have what\n[acl]" in plain


def test_removing_the_last_section_of_a_scope() -> None:
    before = b'# ours\n[global.db]\nuser = "u"\n\n[sales]\na = "1"\n'
    assert EDIT.remove(before, "global", "db") == b'# ours\n[sales]\na = "1"\n'


def test_removing_fields() -> None:
    made = EDIT.remove(ODD.encode(), "global", "db", ["user"]).decode()
    assert tomllib.loads(made)["global"]["db"] == {"password": "p"}
    for text in (made, "[global]\ndb.password = 'p'\n", "[global]\ndb = {password = 'p'}\n"):
        last = EDIT.remove(text.encode(), "global", "db", ["password"]).decode()
        assert "db" not in tomllib.loads(last)["global"]
    with pytest.raises(SecretNotFound, match='secret "db" has no field "port"'):
        EDIT.remove(ODD.encode(), "global", "db", ["port"])
    with pytest.raises(SecretNotFound, match="in \\[global\\]"):
        EDIT.remove(ODD.encode(), "global", "missing")


def test_access_rules_are_set_and_dropped() -> None:
    made = EDIT.restrict(ODD.encode(), "db", ["sales"])
    assert tomllib.loads(made.decode())["acl"] == {"a": ["x", "y"], "db": ["sales"]}
    assert tomllib.loads(EDIT.restrict(made, "db", None).decode())["acl"] == {"a": ["x", "y"]}


def test_what_is_no_secrets_file_is_not_touched_and_not_quoted() -> None:
    value = f"hunter{1 + 1}"
    for text in ('[global]\nkey = "{}', "[global]\nkey = {}"):
        with pytest.raises(SecretsInvalid) as caught:
            EDIT.put(text.format(value).encode(), "global", "new", value)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))


# ------------------------------------------------------------------------- any file, any change

_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
_NAME = st.text("abz-_. é\"'#=[]", min_size=1, max_size=5)
_VALUE = st.one_of(_TEXT, st.dictionaries(_NAME, _TEXT, min_size=1, max_size=3))
_FILE = st.dictionaries(
    _NAME.filter(lambda name: name != "acl"), st.dictionaries(_NAME, _VALUE, max_size=4), max_size=3
)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


def _written(document: dict[str, dict[str, Any]], draw: Any) -> str:
    """The document in one of the many ways that TOML has for it."""
    lines = ["# top"]
    for scope, entries in document.items():
        lines += [f"# about {len(lines)}", f"[{_quoted(scope)}] # {len(lines)}"]
        sections: list[str] = []
        for key, value in entries.items():
            if isinstance(value, str):
                lines.append(f"{_quoted(key)} = {_quoted(value)} # {len(lines)}")
            elif draw(st.sampled_from(["inline", "dotted", "section"])) == "inline" or not value:
                inside = ", ".join(f"{_quoted(k)} = {_quoted(v)}" for k, v in value.items())
                lines.append(f"{_quoted(key)} = {{ {inside} }} # {len(lines)}")
            elif draw(st.booleans()):
                lines += [f"{_quoted(key)}.{_quoted(k)} = {_quoted(v)}" for k, v in value.items()]
            else:
                sections.append(f"# about {len(sections)}\n[{_quoted(scope)}.{_quoted(key)}]")
                sections += [f"{_quoted(k)} = {_quoted(v)}" for k, v in value.items()]
        lines += sections
        lines += [""] * draw(st.integers(0, 2))
    return "\n".join(lines) + draw(st.sampled_from(["", "\n", "\n\n# end\n"]))


@settings(max_examples=150, deadline=None)
@given(data=st.data(), document=_FILE)
def test_any_change_of_any_file_changes_that_alone(data: Any, document: dict[str, Any]) -> None:
    text = _written(document, data.draw)
    assert tomllib.loads(text) == document
    scope = data.draw(st.one_of(st.sampled_from([*document, "new"]), st.just("fresh")))
    key = data.draw(st.one_of(st.sampled_from([*document.get(scope, {}), "k"]), _NAME))
    value = data.draw(_VALUE)
    made = EDIT.put(text.encode(), scope, key, value).decode()
    wanted = {**document, scope: {**document.get(scope, {}), key: value}}
    assert tomllib.loads(made) == wanted
    for comment in (line for line in text.splitlines() if line.startswith("#")):
        assert comment in made.splitlines()
    gone = EDIT.remove(made.encode(), scope, key).decode()
    del wanted[scope][key]
    assert tomllib.loads(gone) == wanted
    for comment in (line for line in text.splitlines() if line.startswith("# about")):
        assert comment in gone.splitlines()
