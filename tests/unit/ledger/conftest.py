"""A ledger in a file, and devices to put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hub_ext.ledger import Ledger
from hub_ext.models import Device, Snapshot

Choose = Callable[[Snapshot], Sequence[str] | None]


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture
def ledger_file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(ledger_file: Path) -> Iterator[Ledger]:
    opened = Ledger(f"sqlite:///{ledger_file}")
    opened.migrate()
    yield opened
    opened.close()


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
