"""Frozen dataclasses <-> JSON values. Pure.

What this module guarantees: what `to_json` gives goes through JSON and comes back from `from_json`
equal; a value of another form or type raises, so nothing half-read is passed on. Fields are plain
values, dates, durations, dataclasses, `X | None`, tuple[X, ...], frozenset[X] and Mapping[str, X].
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

Made = TypeVar("Made")


def to_json(value: object) -> Any:
    """JSON-ready values; durations in seconds, times in ISO 8601 and UTC, sets in order."""
    if is_dataclass(value):
        return {each.name: to_json(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, frozenset):
        return sorted(to_json(item) for item in value)
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    return value


def from_json(cls: type[Made], value: object) -> Made:
    """The dataclass that `to_json` made this of; a field that is not there has its default.

    Raises TypeError or ValueError on another form.
    """
    hints = typing.get_type_hints(cls)
    content = _of(dict, value)
    if unknown := content.keys() - hints.keys():
        raise ValueError(f"{cls.__name__} has no {sorted(unknown)}")
    make: Any = cls
    made: Made = make(**{name: _typed(hints[name], item) for name, item in content.items()})
    return made


def _typed(hint: Any, value: object) -> Any:
    outer, inner = typing.get_origin(hint), typing.get_args(hint)
    if outer is types.UnionType:
        return None if value is None else _typed(inner[0], value)
    if outer in (tuple, frozenset):
        return outer(_typed(inner[0], item) for item in _of(list, value))
    if outer is Mapping:
        return {_of(str, key): _typed(inner[1], item) for key, item in _of(dict, value).items()}
    if is_dataclass(hint):
        return from_json(typing.cast(type, hint), value)
    if hint is timedelta:
        return timedelta(seconds=_typed(float, value))
    if hint is datetime:
        return datetime.fromisoformat(_of(str, value))
    if hint is float and type(value) is int:
        return value
    return _of(hint, value)


def _of(cls: type[Made], value: object) -> Made:
    """The value, which is of this very type: True is no number."""
    if type(value) is not cls:
        raise TypeError(f"{value!r} is no {cls.__name__}")
    return value
