"""Random acyclic graphs: what each name depends on."""

from __future__ import annotations

from hypothesis import strategies as st

Edges = dict[str, tuple[str, ...]]


@st.composite
def acyclic(draw: st.DrawFn, most: int = 9) -> Edges:
    """Names n0, n1, … each of which depends on some before it, in any order of declaration."""
    names = [f"n{number}" for number in range(draw(st.integers(1, most)))]
    edges = {
        name: tuple(draw(st.lists(st.sampled_from(names[:at]), unique=True, max_size=3)))
        if at
        else ()
        for at, name in enumerate(names)
    }
    return {name: edges[name] for name in draw(st.permutations(names))}
