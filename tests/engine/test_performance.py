"""The performance examination with the real torch in the real image; on a card, where there is one.

What only a card shows is played by stand-ins in tests/server/doctor/test_measuring.py.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container
from docker.types import DeviceRequest

pytestmark = pytest.mark.timeout(300)

CARD = Path("/dev/nvidia0")
NO_GPU = {"GPUCAMP_LEASE": "lease-1", "GPUCAMP_DEVICES": "", "GPUCAMP_SIMULATED": "0"}
ADVICE = {"healthy", "advice"}


class Server:
    """A participant's container, run as the spawner runs it."""

    def __init__(self, container: Container) -> None:
        self._container = container

    def run(self, command: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
        """Exit status, stdout and stderr of a line for bash."""
        done = self._container.exec_run(
            ["/bin/bash", "-c", command], environment=env or {}, demux=True
        )
        out, err = (part.decode(errors="replace") if part else "" for part in done.output)
        return done.exit_code, out, err

    def ok(self, command: str) -> str:
        status, out, err = self.run(command)
        assert status == 0, f"{command} ended with {status}:\n{out}{err}"
        return out


@pytest.fixture(scope="module")
def start(engine: docker.DockerClient, image: str) -> Iterator[Callable[..., Server]]:
    """Starts servers that are gone, with their volume, when the module ends."""
    name = f"gpucamp-test-performance-{secrets.token_hex(5)}"
    containers = []

    def run(**options: Any) -> Server:
        containers.append(
            engine.containers.run(
                image,
                ["sleep", "infinity"],
                detach=True,
                user="1000",
                read_only=True,
                network_mode="none",
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                shm_size="1g",
                tmpfs={"/tmp": "exec"},
                volumes={name: {"bind": "/home/jovyan"}},
                environment=NO_GPU,
                **options,
            )
        )
        return Server(containers[-1])

    yield run
    for container in containers:
        container.remove(force=True)
    if containers:
        engine.volumes.get(name).remove(force=True)


@pytest.fixture(scope="module")
def quiet(start: Callable[..., Server]) -> Server:
    """A server without a GPU."""
    return start()


def measure(server: Server, env: dict[str, str] | None = None) -> dict[str, Any]:
    status, out, err = server.run("gpucamp-doctor --performance --json", env)
    assert status in (0, 1), f"ended with {status}:\n{out}{err}"
    result: dict[str, Any] = json.loads(out)
    assert (status == 1) == (result["verdict"] == "degraded")
    # no rank, no probe and no file of theirs is left
    assert server.run("pgrep -f 'doctor/[p]robes/'")[0] == 1
    assert server.ok("ls /dev/shm /tmp").count("gpucamp-ranks") == 0
    return result


def figures(result: dict[str, Any]) -> dict[str, float]:
    return {figure["name"]: figure["value"] for figure in result["figures"]}


def test_a_practice_device_computes_nothing_and_the_cpu_is_measured(quiet: Server) -> None:
    result = measure(quiet, {"GPUCAMP_SIMULATED": "1"})
    assert result["verdict"] in ADVICE, result["findings"]
    found = figures(result)
    assert set(found) == {"cpu-matmul-fp32", "cpu-copy", "all-reduce-gloo"}, result["facts"]
    # wide bounds: they are wrong only if the unit is
    assert 1e9 < found["cpu-matmul-fp32"] < 1e13
    assert 1e8 < found["cpu-copy"] < 1e12 and 1e7 < found["all-reduce-gloo"] < 1e12
    reasons = {item["name"]: item["reason"] for item in result["skipped"]}
    assert reasons == {"gpu": "practice", "all-reduce-nccl": "practice"}
    assert result["torch"].startswith("2.9.1")


def test_a_command_that_is_killed_leaves_nothing(quiet: Server) -> None:
    """The probe ends with who started it, even in the middle of an import."""
    waiting = "for _ in $(seq 100); do {} && exit 0; sleep 0.1; done; exit 1"
    there = "pgrep -f 'doctor/[p]robes/performance'"
    quiet.ok("nohup gpucamp-doctor --performance > /tmp/said 2>&1 & echo $! > /tmp/doctor")
    quiet.ok(waiting.format(there))
    quiet.ok("kill -KILL $(cat /tmp/doctor)")
    quiet.ok(waiting.format(f"! {there}"))


@pytest.mark.skipif(not CARD.exists(), reason="needs an NVIDIA card: there is no /dev/nvidia0")
def test_a_real_card_reaches_its_model(start: Callable[..., Server]) -> None:
    """No false alarm on a card that nobody else uses."""
    request = DeviceRequest(count=-1, capabilities=[["gpu"]])
    result = measure(start(device_requests=[request]))
    assert result["verdict"] in ADVICE, result["findings"]
    found = figures(result)
    assert {"matmul-fp32", "copy-d2d", "copy-h2d-pinned", "copy-d2h-pinned"} <= set(found)
    for figure in result["figures"]:
        assert figure["expected"] is None or figure["value"] < 3 * figure["expected"], figure
