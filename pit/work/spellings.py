"""What a secret may look like where it is told: the spellings in which programs commonly write one.

As it is, its lines, in base64 (at all three alignments, so that it is found within a longer text
too) and in hexadecimal; encoded for URLs; escaped for JSON, for Python, for a shell, for HTML, for
SQL and CSV; what is beyond ASCII also in Latin-1, and composed in the other way.
"""

from __future__ import annotations

import json
import re
from binascii import b2a_base64
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import quote, quote_plus, unquote, urlsplit

from pit.sql.plain_options import PLAIN_OPTIONS, plain_name
from pit.text import regex

Secret = str | dict[str, str]

SHORTEST = 6
"""Bytes; what is shorter would be found everywhere."""

PLAIN_FIELDS = PLAIN_OPTIONS | {
    plain_name(name)
    for name in (
        *("endpoint", "region", "bucket", "prefix", "path_style", "verify", "ca"),  # S3 and HTTP
        *("auth", "header", "query"),
        *("security", "tls", "from", "insecure_login", "host_key", "encoding"),  # mail and files
    )
}
"""The fields of a structured secret that are no secret, but for a password in one, or a key.

A `url` is one: that of a webhook is all that it takes to use it. What is not known stays one.
"""

_WRAPPED = (64, 76)
"""How long the lines of `openssl` and of the command `base64` are."""


def parts(secret: Secret) -> Iterator[str]:
    """The texts of a secret that nobody else may read: as a whole, and the passwords in them."""
    fields = {"": secret} if isinstance(secret, str) else secret
    for name, text in fields.items():
        if plain_name(name) not in PLAIN_FIELDS or _PRIVATE in text:
            # The slash that ends a URL belongs to what follows as well, and is no secret.
            yield text.rstrip("/") if "://" in text else text
        for password in _passwords(text):
            yield password
            yield unquote(password)


_PRIVATE = "PRIVATE KEY-----"
"""What the text of a key holds, which could stand where a file's path is expected."""

_ASSIGNED = regex.lazy(
    r"(?:^|[?&;,\s])"
    r"(?:[\w.-]*(?:password|passwd|passphrase|pwd|token|secret|sig|signature|credentials?"
    r"|(?:api|access|account)[_-]?key)"
    r"|(?:[\w.-]*[_.-])?(?:pass|key))"
    r"\s*=\s*"
    r"(?:\{(?P<braced>(?:[^}]|\}\})*)\}"
    r"|(?P<quoted>'(?:[^'\\]|\\.)*'|\"[^\"]*\")"
    r"|(?P<bare>(?:\\\s|[^&;\s])+)(?=(?P<more>[^;\n]*)))",
    re.IGNORECASE,
)
"""What is assigned to a name that tells of a secret, as ODBC, libpq and URLs write it."""

_OF_USER = regex.lazy(r"://[^\s:/@]*:(\S+)@")


def _passwords(text: str) -> Iterator[str]:
    """Those within a URL, `//user:password@` and `?token=…`, within `UID=…;PWD=…` of ODBC, and
    within `user=… password='…'` of libpq, whatever stands before the name (`-c app.token=…`)."""
    for match in _ASSIGNED.finditer(text):
        if match["braced"] is not None:
            yield match["braced"].replace("}}", "}")
        elif match["quoted"] is not None:
            yield match["quoted"]
            yield re.sub(r"\\(.)", r"\1", match["quoted"][1:-1])
        else:
            yield match["bare"]
            yield re.sub(r"\\(.)", r"\1", match["bare"])
            if ";" in text:  # which alone ends it in ODBC, where it may hold spaces
                yield f"{match['bare']}{match['more']}".strip()
    if "://" not in text:
        return
    try:
        yield urlsplit(text).password or ""
    except ValueError:  # a bracket in the password, which no URL may have
        found = _OF_USER.search(text)
        yield found[1] if found else ""


def forms(text: str) -> set[bytes]:
    """Every form of a text that is masked; none if it is too short."""
    whole = text.encode("utf-8", "surrogatepass")
    if len(whole) < SHORTEST:
        return set()
    found: set[bytes] = set()
    for part in {text, text.strip(), *_lines(text)}:
        for spelling in _SPELLINGS:
            found.add(spelling(part).encode("utf-8", "surrogatepass"))
    if not text.isascii():
        found |= {form for part in {text, text.strip(), *_lines(text)} for form in _beyond(part)}
    for data in {whole, whole.strip()}:
        found |= _in_base64(data)
        found |= {data.hex().encode(), data.hex().upper().encode()}
    return {form for form in found if len(form) >= SHORTEST}


def _lines(text: str) -> list[str]:
    """The lines of a many-line secret that are long enough to be one."""
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if len(line.encode("utf-8", "surrogatepass")) >= SHORTEST]


# ---------------------------------------------------------------- spellings


def _quoted(safe: str) -> Callable[[str], str]:
    return lambda text: quote(text, safe=safe, errors="surrogatepass")


_PERCENT = regex.lazy("%[0-9A-F]{2}")


def _lowered(text: str) -> str:
    return _PERCENT.sub(lambda code: code[0].lower(), quote(text, "", errors="surrogatepass"))


def _json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _json_as_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


_ESCAPED = regex.lazy(r"\\u[0-9a-f]{4}")


def _json_capitals(text: str) -> str:
    return _ESCAPED.sub(lambda code: f"\\u{code[0][2:].upper()}", _json(text))


def _json_for_html(text: str) -> str:
    """As Go writes it, so that it may stand in a page."""
    return re.sub("[<>&]", lambda sign: f"\\u{ord(sign[0]):04x}", _json_as_text(text))


_BOTH_QUOTES = "'\""


def _python(text: str) -> str:
    """Within quotes that had to be single, for what stands around it has both."""
    return repr(_BOTH_QUOTES + text)[4:-1]


def _python_ascii(text: str) -> str:
    return ascii(_BOTH_QUOTES + text)[4:-1]


def _python_bytes(text: str) -> str:
    return repr((_BOTH_QUOTES + text).encode("utf-8", "surrogatepass"))[5:-1]


def _unescaped(spelling: Callable[[str], str], quote: str) -> Callable[[str], str]:
    """The same where this quote needs no backslash."""
    return lambda text: spelling(text).replace(f"\\{quote}", quote)


def _doubled(sign: str) -> Callable[[str], str]:
    return lambda text: text.replace(sign, sign * 2)


_SHELL = regex.lazy(r"""([ '"\\|&;()<>!{}*\[\]?^$`,])""")


def _html(text: str, quote: bool = True) -> str:
    import html  # only where there is a secret to be masked

    return html.escape(text, quote)


_SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    _quoted(""),
    _quoted("/"),
    _quoted("!'()*"),  # what JavaScript leaves as it is
    _lowered,
    lambda text: quote_plus(text, errors="surrogatepass"),
    lambda text: quote_plus(text, "*", errors="surrogatepass"),  # Java and browsers' forms
    *(_json, _json_as_text, _json_capitals, _json_for_html),
    lambda text: _json(text).replace("/", "\\/"),
    lambda text: _json(_json(text)),  # an answer of Pit's that holds JSON
    lambda text: _json_as_text(_json_as_text(text)),
    *(_python, _python_ascii, _python_bytes),
    *(_unescaped(spelling, "'") for spelling in (_python, _python_ascii, _python_bytes)),
    lambda text: text.replace("'", "'\\''"),  # as a shell shows a command (set -x)
    lambda text: text.replace("'", "'\"'\"'"),  # as Python quotes for one
    lambda text: _SHELL.sub(r"\\\1", text),  # printf %q
    _html,
    lambda text: _html(text).replace("&#x27;", "&#39;"),
    lambda text: _html(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    lambda text: _html(text).replace("&#x27;", "&apos;"),
    lambda text: _html(text, quote=False),
    *map(_doubled, "'\"}"),  # SQL and YAML, CSV, ODBC
)


def _beyond(text: str) -> Iterator[bytes]:
    """What has letters beyond ASCII, by other tables than UTF-8, and as a shell in C shows it."""
    from unicodedata import normalize  # most secrets are ASCII

    for form in ("NFC", "NFD"):
        yield normalize(form, text).encode("utf-8", "surrogatepass")
    with suppress(UnicodeEncodeError):
        yield text.encode("latin-1")
    raw = repr(f"{_BOTH_QUOTES}{text}".encode("utf-8", "surrogatepass"))[5:-1]
    yield _HEX.sub(lambda code: f"\\{int(code[0][2:], 16):03o}", raw).encode()


_HEX = regex.lazy(r"(?<!\\)\\x[0-9a-f]{2}")


def _base64(data: bytes) -> bytes:
    return b2a_base64(data, newline=False)


def _in_base64(data: bytes) -> set[bytes]:
    """Base64 of the data alone, and what it is bound to be within more data: three alignments.

    Alone it may be in lines, too. Padding is left out, for it tells nothing.
    """
    found = {_base64(data).rstrip(b"=")} | {_bound(data, before) for before in range(3)}
    for whole in (_base64(data).rstrip(b"="), _bound(data, 0)):
        for width in _WRAPPED:
            if len(whole) > width:
                found |= {whole[at : at + width] for at in range(0, len(whole), width)}
    return {form for each in found for form in (each, each.translate(_URLSAFE))}


def _bound(data: bytes, before: int) -> bytes:
    """The characters of base64 that the data alone decides, `before` bytes into a group."""
    first, last = -(-before * 8 // 6), (before + len(data)) * 8 // 6
    return _base64(bytes(before) + data)[first:last]


_URLSAFE = bytes.maketrans(b"+/", b"-_")
