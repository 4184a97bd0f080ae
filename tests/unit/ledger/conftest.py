"""A ledger on each database, and devices to put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ledger_databases import KINDS, new_ledger

from hub_ext.ledger import Ledger
from hub_ext.models import Device, Snapshot

Choose = Callable[[Snapshot], Sequence[str] | None]


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The database that a test's ledger is kept in."""
    return str(request.param)


@pytest.fixture
def ledger_url(kind: str, tmp_path: Path) -> Iterator[str]:
    """Of a new ledger, with its tables."""
    with new_ledger(kind, tmp_path) as url:
        yield url


@pytest.fixture
def open_ledger() -> Iterator[Callable[[str], Ledger]]:
    """Opens ledgers, which are closed at the end."""
    opened: list[Ledger] = []

    def open_one(url: str) -> Ledger:
        opened.append(Ledger(url))
        return opened[-1]

    yield open_one
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(ledger_url: str, open_ledger: Callable[[str], Ledger]) -> Ledger:
    return open_ledger(ledger_url)


@pytest.fixture
def make_devices() -> Callable[[int], list[Device]]:
    """Devices GPU-0, GPU-1, ..."""

    def make(count: int, **fields: object) -> list[Device]:
        return [Device(f"GPU-{i}", f"card {i}", 1024, **fields) for i in range(count)]  # type: ignore[arg-type]

    return make


@pytest.fixture
def first_free() -> Callable[[int], Choose]:
    """A policy that takes the first free devices."""

    def policy(count: int) -> Choose:
        def choose(snapshot: Snapshot) -> Sequence[str] | None:
            free = [record.device.uuid for record in snapshot.devices if record.is_free]
            return free[:count] if len(free) >= count else None

        return choose

    return policy
