"""What programs of real containers do on this host, for practice devices to show."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

import docker
import pytest
from docker.models.containers import Container

from hub_ext.inventory.practice_load import PYTHON_BYTES, PracticeLoad
from hub_ext.service.practice_use import IDLE_CORES

pytestmark = pytest.mark.timeout(180)

DATA = 2 * PYTHON_BYTES
BUSY = f"data = bytearray(b'x' * {DATA})\nwhile True: pass"
IDLE = "import time\ntime.sleep(1000)"


@pytest.fixture
def servers(engine: docker.DockerClient, image: str) -> Iterator[tuple[Container, ...]]:
    made = tuple(
        engine.containers.run(
            image,
            ["python", "-c", program],
            name=f"gpucamp-test-load-{secrets.token_hex(5)}",
            detach=True,
            network_mode="none",
        )
        for program in (BUSY, IDLE)
    )
    yield made
    for each in made:
        each.remove(force=True, v=True)


def test_who_computes_is_told_from_who_does_not(servers: tuple[Container, ...]) -> None:
    busy, idle = (str(each.id) for each in servers)
    load = PracticeLoad()
    deadline = time.monotonic() + 90
    while True:
        found = load.look((busy, idle))
        if (
            set(found) == {busy, idle}
            and found[busy].cores > 4 * IDLE_CORES
            and found[busy].memory_bytes >= DATA - PYTHON_BYTES
            and found[idle].cores < IDLE_CORES
        ):
            break
        assert time.monotonic() < deadline, found
        time.sleep(1)
    assert found[idle].memory_bytes == 0
