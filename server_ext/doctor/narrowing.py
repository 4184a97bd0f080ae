"""Which few of many are to blame.

Guarantees: starts nothing by itself; what it names was tried: without these it works.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def smallest(
    items: tuple[T, ...],
    works_without: Callable[[tuple[T, ...]], Awaitable[bool]],
    *,
    likely: int = 0,
) -> tuple[T, ...]:
    """A smallest set of `items` without which it works; () if it is none of them. The first
    `likely` of them are tried one by one.
    """
    if not items or not await works_without(items):
        return ()
    for item in items[:likely] if len(items) > 1 else ():
        if await works_without((item,)):
            return (item,)
    needed = items
    while len(needed) > 1:
        middle = len(needed) // 2
        for half in (needed[:middle], needed[middle:]):
            if await works_without(half):
                needed = half
                break
        else:
            break  # some of both halves are to blame
    for item in needed if len(needed) > 1 else ():
        fewer = tuple(other for other in needed if other is not item)
        if fewer and await works_without(fewer):
            needed = fewer
    return needed
