"""Pit: a declarative, make-style orchestrator for data teams, on top of doit.

`pit.sdk`, what tasks import, lies in a package of this name beside it; see work/bundled.py.
"""

from os import path as _path

_HERE = _path.dirname(_path.abspath(__file__))
_SHIPPED = _path.join(_HERE, "bundled", "sdk", "python", "pit")
_BESIDE = _path.join(_path.dirname(_HERE), "sdk", "python", "pit")
__path__.append(_SHIPPED if _path.isdir(_SHIPPED) else _BESIDE)
