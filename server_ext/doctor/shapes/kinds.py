"""The kinds that a fact may be of.

Guarantees: pure; each test answers for any value, that of JSON or ABSENT, and raises for none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

ABSENT = object()  # in the place of a fact that was not told

# kind -> whether a value is of it. "error": {"error": ...} is an answer here, mostly because a
# finding tells of it, or because a card or a kernel of Linux need not know
KINDS: Mapping[str, Callable[[object], bool]] = {
    "text": lambda value: isinstance(value, str),
    "flag": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "object": lambda value: isinstance(value, dict | Mapping) and "error" not in value,
    "list": lambda value: isinstance(value, list),
    "none": lambda value: value is None,
    "error": lambda value: isinstance(value, Mapping) and "error" in value,
    "absent": lambda value: value is ABSENT,
}
