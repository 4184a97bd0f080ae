"""What probes found out, as immutable values with safe access.

Guarantees: pure; reading a fact never raises: a fact that is absent, of the wrong type, or behind
a failed probe reads as None (or an empty list), because what a broken environment prints cannot
be trusted. Who must know whether an answer rests on a failed probe, or on what a probe did not
tell as it should, reads through `noting`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .shapes.problems import problem

FailureKind = Literal["timeout", "crashed", "garbage", "flood", "not-started"]


@dataclass(frozen=True)
class Failure:
    """Why a probe has no facts.

    detail: for people, English; exit_code: negative for a signal; stderr: its last lines.
    """

    kind: FailureKind
    detail: str
    exit_code: int | None = None
    stderr: str = ""


@dataclass(frozen=True)
class ProbeResult:
    """One probe's answer: `value` (JSON) or `failure`. seconds: wall time."""

    name: str
    seconds: float = 0.0
    value: Mapping[str, object] = field(default_factory=dict)
    failure: Failure | None = None


class Facts:
    """All results so far, by probe name; paths go into the nested JSON."""

    def __init__(
        self,
        results: Mapping[str, ProbeResult],
        asked: set[str] | None = None,
        untold: dict[str, str] | None = None,
    ) -> None:
        self._results = dict(results)
        self._asked = asked
        self._untold = untold
        self._problems: dict[tuple[str, ...], str] = {}  # of each path, as shapes/ sees it

    def noting(self, asked: set[str], untold: dict[str, str] | None = None) -> Facts:
        """The same facts; every failed probe that is read goes into `asked`, and of each probe
        the first thing that is read and was not told (shapes/) into `untold`, with the reason.
        """
        noting = Facts(self._results, asked, untold)
        noting._problems = self._problems  # the facts are the same: looked at once for all checks
        return noting

    @property
    def results(self) -> Mapping[str, ProbeResult]:
        """Every result, by probe name."""
        return self._results

    def failure(self, probe: str) -> Failure | None:
        """Why this probe has no facts; None when it has, or has not run."""
        result = self._result(probe)
        return result.failure if result is not None else None

    def get(self, probe: str, *path: str) -> object:
        """Any JSON value, or None."""
        result = self._result(probe)
        value: object = result.value if result is not None else None
        if self._untold is not None and result is not None and result.failure is None:
            asked = (probe, *path)
            if asked not in self._problems:
                self._problems[asked] = problem(probe, result.value, path)
            if self._problems[asked]:
                self._untold.setdefault(probe, self._problems[asked])
        for key in path:
            if not isinstance(value, Mapping):
                return None
            value = value.get(key)
        return value

    def text(self, probe: str, *path: str) -> str | None:
        """A string, or None."""
        value = self.get(probe, *path)
        return value if isinstance(value, str) else None

    def number(self, probe: str, *path: str) -> int | float | None:
        """A number (never a bool), or None."""
        value = self.get(probe, *path)
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    def integer(self, probe: str, *path: str) -> int | None:
        """An int, or None."""
        value = self.number(probe, *path)
        return value if isinstance(value, int) else None

    def flag(self, probe: str, *path: str) -> bool | None:
        """A bool, or None."""
        value = self.get(probe, *path)
        return value if isinstance(value, bool) else None

    def mapping(self, probe: str, *path: str) -> Mapping[str, object]:
        """An object, or {}."""
        value = self.get(probe, *path)
        return value if isinstance(value, Mapping) else {}

    def texts(self, probe: str, *path: str) -> tuple[str, ...]:
        """The strings of a list, or ()."""
        return tuple(item for item in self._items(probe, *path) if isinstance(item, str))

    def objects(self, probe: str, *path: str) -> tuple[Mapping[str, object], ...]:
        """The objects of a list, or ()."""
        return tuple(item for item in self._items(probe, *path) if isinstance(item, Mapping))

    def _result(self, probe: str) -> ProbeResult | None:
        result = self._results.get(probe)
        if self._asked is not None and result is not None and result.failure is not None:
            self._asked.add(probe)
        return result

    def _items(self, probe: str, *path: str) -> Sequence[object]:
        value = self.get(probe, *path)
        return value if isinstance(value, (list, tuple)) else ()


def text_of(item: Mapping[str, object], key: str) -> str:
    """A string of an object in a list, or ""."""
    value = item.get(key)
    return value if isinstance(value, str) else ""


def integer_of(item: Mapping[str, object], key: str) -> int | None:
    """An int of an object in a list, or None."""
    value = item.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
