"""A small line of the last minutes, as the path of an SVG. Pure.

Guarantees: equal steps from left to right, the last value at the right edge; a gap in the values is
a gap in the line; a value is never drawn outside of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

WIDTH, HEIGHT = 120, 28
POINTS = 60  # more cannot be told apart at that width


def path(values: Sequence[float | None], top: float) -> str:
    """The `d` of a path in WIDTH × HEIGHT; "" if nothing is known. `top`: the upper edge's value.

    A value alone between gaps is a dot (a line of no length, with round ends).
    """
    return _path(tuple(values), top)


@lru_cache(maxsize=1024)  # many look at the same devices
def _path(values: tuple[float | None, ...], top: float) -> str:
    known = thinned(values)
    if top <= 0 or not known:
        return ""
    step = WIDTH / max(len(known) - 1, 1)
    parts: list[str] = []
    pen_is_down = False
    for place, value in enumerate(known):
        if value is None:
            pen_is_down = False
            continue
        x = round(place * step, 1)
        y = round(HEIGHT * (1 - min(max(value / top, 0.0), 1.0)), 1)
        alone = not pen_is_down and (place + 1 == len(known) or known[place + 1] is None)
        parts.append(f"{'L' if pen_is_down else 'M'}{x:g} {y:g}" + ("h0" if alone else ""))
        pen_is_down = True
    return "".join(parts)


def thinned(values: Sequence[float | None]) -> list[float | None]:
    """At most POINTS values: of each stretch the highest, so that no peak is lost."""
    size = -(-len(values) // POINTS)
    found: list[float | None] = []
    # from the end, so that the newest stretch is whole
    for end in range(len(values), 0, -size or -1):
        stretch = [each for each in values[max(0, end - size) : end] if each is not None]
        found.append(max(stretch) if stretch else None)
    return found[::-1]
