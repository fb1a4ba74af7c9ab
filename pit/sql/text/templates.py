"""SQL templates: Jinja in a sandbox, where an unknown name is an error.

A template sees `params`, `run`, `env` and `dialect`, and nothing of the process that renders it; it
includes and imports files of the project's snapshot alone.
"""

from __future__ import annotations

import ctypes
import posixpath
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import jinja2
import jinja2.sandbox

from pit.sql.driver import CANCELLED, Failure, SqlFailure
from pit.sql.protocol import Template
from pit.sql.text import textsizes
from pit.sql.text.dialect import BadName, Dialect

_LONGEST_TEXT = 10_000_000
_WAIT = 1.0


class _Stopped(BaseException):
    """Raised inside of a template that shall end; not an Exception, which templates might meet."""


class Renderer:
    """One template on its way to text; `interrupt` may come from another thread."""

    def __init__(self, template: Template, dialect: Dialect) -> None:
        self._template, self._dialect = template, dialect
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._stopped = False

    def interrupt(self) -> None:
        """End the rendering, if it is going on, at the next step of the template."""
        if not self._lock.acquire(timeout=_WAIT):
            return
        try:
            self._stopped = True
            if self._thread is not None:
                # Nothing else ends a loop in a template that neither writes nor calls.
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread), ctypes.py_object(_Stopped)
                )
        finally:
            self._lock.release()

    def render(self, name: str, text: str) -> str:
        """The text that the template `name` makes; raises SqlFailure with file and line."""
        try:
            self._enter()
            try:
                return self._rendered(name, text)
            finally:
                with self._lock:
                    self._thread = None
        except _Stopped:
            raise SqlFailure(Failure(message="interrupted", kind=CANCELLED)) from None
        except jinja2.TemplateError as error:
            raise SqlFailure(_failure(error, name, self._template.root)) from None
        except RecursionError:
            raise SqlFailure(_broken("the template includes or calls itself", name)) from None
        except MemoryError:
            raise SqlFailure(_broken("the template needs too much memory", name)) from None
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise SqlFailure(_failure(error, name, self._template.root)) from None

    def _enter(self) -> None:
        with self._lock:
            if self._stopped:
                raise _Stopped
            self._thread = threading.get_ident()

    def _rendered(self, name: str, text: str) -> str:
        environment = _Sandbox(
            undefined=jinja2.StrictUndefined,
            loader=jinja2.FunctionLoader(_loader(Path(self._template.root), name, text)),
            keep_trailing_newline=True,
            autoescape=False,
            extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"],
            finalize=_written,
        )
        environment.filters |= textsizes.guarded(environment.filters)
        environment.filters["sqlstr"] = lambda value: literal(value, self._dialect)
        environment.filters["ident"] = lambda value: identifier(value, self._dialect)
        for name_ in ("format", "center"):  # they make texts of any length, in one step
            del environment.filters[name_]
        del environment.globals["lipsum"]
        template = environment.get_template(name)
        parts: list[str] = []
        size = 0
        for part in template.generate(self._scope()):
            size += len(part)
            if size > textsizes.LARGEST:
                raise jinja2.TemplateRuntimeError(
                    f"the rendered text has more than {textsizes.LARGEST // 1024**2} MB"
                )
            parts.append(part)
        return "".join(parts)

    def _scope(self) -> dict[str, Any]:
        scope = self._template.scope
        params: dict[str, Any] = dict(scope.params)
        for name in scope.dates:
            params[name] = date.fromisoformat(str(params[name]))
        return {
            "params": _Names("params", params),
            "run": _Names("run", scope.run),
            "env": _Names("env", scope.env),
            "dialect": self._dialect.name,
        }


def _written(value: Any) -> Any:
    """What stands in `{{ }}`, unless its text would be a word of Python's."""
    if isinstance(value, Iterator):
        raise jinja2.TemplateRuntimeError("this makes a list; write | join(', '), or | sqlstr")
    return value


class _Names(dict[str, Any]):
    """A table of names in a template, of which `title` is the name."""

    def __init__(self, title: str, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.title = title

    def missing(self, key: object) -> str:
        """What to say of a name that it lacks."""
        known = ", ".join(sorted(map(str, self))) or "nothing"
        return f"{self.title} has no {key}; it has {known}"


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """A sandbox in which no single step takes long, and names come before methods."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))
    code_generator_class = textsizes.Code
    concat = staticmethod(textsizes.joined)

    def call(self, context: jinja2.runtime.Context, obj: Any, *args: Any, **named: Any) -> Any:
        """Refuse a method that would make a text that is far too long."""
        textsizes.called(obj, args)
        return super().call(context, obj, *args, **named)

    def call_binop(
        self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any
    ) -> Any:
        """Refuse what would make a text or number that is far too long."""
        if operator == "**":
            sizes = (abs(left), abs(right)) if _are_numbers(left, right) else (0, 0)
            if sizes[0] > 1e6 or sizes[1] > 1e3:
                raise jinja2.TemplateRuntimeError("the numbers of ** are too large here")
        elif operator == "+":
            textsizes.added(left, right)
        elif operator == "*":
            for text, number in ((left, right), (right, left)):
                if isinstance(text, str | list | tuple) and isinstance(number, int):
                    _bounded(len(text) * number)
            if _are_numbers(left, right) and max(abs(left), abs(right)) > 1e300:
                raise jinja2.TemplateRuntimeError("the numbers of * are too large here")
        elif isinstance(left, str):
            raise jinja2.TemplateRuntimeError("write {{ a ~ b }}, for % does not format texts here")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Methods that pad or format texts to any length are not to be had."""
        if isinstance(obj, str) and attr in ("center", "ljust", "rjust", "zfill", "expandtabs"):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Any:
        """Neither are `format` and `format_map`."""
        if super().wrap_str_format(value) is not None:
            raise jinja2.TemplateRuntimeError("write {{ a ~ b }}, for texts have no format here")
        return None

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`params.items` is the parameter that is called so, not a method of dictionaries."""
        return (
            self._of(obj, attribute) if isinstance(obj, _Names) else super().getattr(obj, attribute)
        )

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`params["items"]` is the same."""
        return (
            self._of(obj, argument) if isinstance(obj, _Names) else super().getitem(obj, argument)
        )

    def _of(self, names: _Names, key: Any) -> Any:
        if key in names:
            return names[key]
        return self.undefined(names.missing(key), obj=names, name=key)

    def join_path(self, template: str, parent: str) -> str:
        """`./x` and `../x` are relative to the template's folder, all else to the project."""
        if template.startswith(("./", "../")):
            return posixpath.normpath(posixpath.join(posixpath.dirname(parent), template))
        return template


def _are_numbers(*values: object) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _bounded(size: int) -> None:
    if size > _LONGEST_TEXT:
        raise jinja2.TemplateRuntimeError("the result of * is too long")


Loaded = tuple[str, str, Callable[[], bool]]


def _loader(root: Path, name: str, text: str) -> Callable[[str], Loaded | None]:
    """Reads templates below `root`; the one that is rendered is known already."""
    real = root.resolve()

    def load(wanted: str) -> Loaded | None:
        if wanted == name:
            return text, name, lambda: True
        path = (root / wanted).resolve()
        if not path.is_relative_to(real) or not path.is_file():
            return None
        try:
            return path.read_text("utf-8-sig"), wanted, lambda: True
        except UnicodeDecodeError:
            raise jinja2.TemplateRuntimeError(f"{wanted} is not UTF-8 text") from None

    return load


# ---------------------------------------------------------------- filters


def literal(value: Any, dialect: Dialect) -> str:
    """A value as a constant of SQL; a list as constants with commas between."""
    match value:
        case jinja2.Undefined():
            return str(value)  # raises, and names it
        case None:
            return "NULL"
        case bool():
            bits = dialect.name in ("sqlserver", "sqlite")
            return str(int(value)) if bits else str(value).upper()
        case float() if value != value or abs(value) == float("inf"):
            raise jinja2.TemplateRuntimeError(f"sqlstr cannot write the number {value}")
        case int() | float() | Decimal():
            return str(value)
        case datetime() | date() | time():
            return dialect.literal(str(value)).strip()
        case str():
            try:
                return dialect.literal(value).strip()
            except BadName as error:
                raise jinja2.TemplateRuntimeError(f"sqlstr: {error}") from None
        case Iterator():
            return literal(list(value), dialect)
        case list() | tuple() | set() | frozenset():
            if not value:
                raise jinja2.TemplateRuntimeError("sqlstr: the list is empty")
            return ", ".join(literal(each, dialect) for each in value)
    raise jinja2.TemplateRuntimeError(f"sqlstr cannot write a {type(value).__name__}")


def identifier(value: Any, dialect: Dialect) -> str:
    """A name in quotes; a list as names with commas between."""
    if isinstance(value, jinja2.Undefined):
        return str(value)
    if isinstance(value, list | tuple | Iterator):
        return ", ".join(identifier(each, dialect) for each in value)
    try:
        return dialect.quote(str(value))
    except BadName as error:
        raise jinja2.TemplateRuntimeError(f"ident: {error}") from None


# ---------------------------------------------------------------- errors


def _failure(error: Exception, name: str, root: str) -> Failure:
    """What is wrong, with the template and the line that say it."""
    place, line = name, 0
    if isinstance(error, jinja2.TemplateSyntaxError):
        place, line = error.name or name, error.lineno
    else:
        for place_, line_ in _frames(error):
            place, line = place_, line_
    message = str(getattr(error, "message", None) or error) or type(error).__name__
    if isinstance(error, jinja2.TemplatesNotFound | jinja2.TemplateNotFound):
        message = f"there is no {message} in the project to include"
    return Failure(message=message, line=line, kind="template", place=place)


def _frames(error: BaseException) -> Iterator[tuple[str, int]]:
    """The places in templates that an error went through, the innermost last.

    Jinja writes its tracebacks anew, in terms of the templates.
    """
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if trace.tb_frame.f_globals.get("__jinja_template__") is not None or (
            "__jinja_exception__" in trace.tb_frame.f_globals
        ):
            yield code.co_filename, trace.tb_lineno
        trace = trace.tb_next


def _broken(message: str, name: str) -> Failure:
    return Failure(message=message, kind="template", place=name)
