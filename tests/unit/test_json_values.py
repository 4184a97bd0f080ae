"""What went to JSON comes back as it was; anything else raises."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from hub_ext.json_values import from_json, to_json


@dataclass(frozen=True, slots=True)
class Inner:
    number: int
    share: float = 0.5
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Outer:
    inner: tuple[Inner, ...]
    by_name: Mapping[str, Inner] = field(default_factory=dict)
    since: datetime | None = None
    length: timedelta = timedelta(0)
    on: bool = True


FULL = Outer(
    (Inner(1, names=frozenset({"b", "a"})), Inner(2, share=3)),
    {"x": Inner(-1)},
    datetime(2026, 11, 24, 8, 30, tzinfo=UTC),
    timedelta(seconds=1.5),
    False,
)


@pytest.mark.parametrize("value", [FULL, Outer(())])
def test_there_and_back(value: Outer) -> None:
    assert from_json(Outer, json.loads(json.dumps(to_json(value), allow_nan=False))) == value


def test_what_is_missing_has_its_default() -> None:
    assert from_json(Outer, {"inner": [{"number": 1}]}) == Outer((Inner(1),))


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"inner": [], "other": 1},
        {"inner": {}},
        {"inner": ["x"]},
        {"inner": [{}]},
        {"inner": [{"number": "1"}]},
        {"inner": [{"number": 1.0}]},
        {"inner": [{"number": True}]},
        {"inner": [{"number": 1, "share": True}]},
        {"inner": [{"number": 1, "names": [None]}]},
        {"inner": [], "by_name": {"x": None}},
        {"inner": [], "since": 5},
        {"inner": [], "since": "soon"},
        {"inner": [], "length": None},
        {"inner": [], "on": 1},
    ],
)
def test_another_form_raises(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        from_json(Outer, value)
