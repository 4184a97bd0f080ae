"""Fixtures of the service's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from school import make_school
from service_server import RunningService, running_service
from service_world import World, make_ledger


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A ledger with two simulated devices, and a running server of ada."""
    ledger = make_ledger(tmp_path)
    world = World(ledger)
    world.run_server("ada")
    yield world
    ledger.close()


@pytest.fixture
def ask(world: World) -> Iterator[RunningService]:
    """The service, as something to send requests to."""
    with running_service(world) as running:
        yield running


@pytest.fixture
def school(world: World) -> World:
    """A class of eight."""
    return make_school(world)
