"""The service as JupyterHub runs it: a process with settings, a port and signals."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from service_server import running_service

from hub_ext.models import OperationKind, OperationStep
from hub_ext.service.app import GpucampService
from hub_ext.service.cookie_secret import cookie_secret


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """`python -m hub_ext.service` with the environment that JupyterHub gives it."""

    def __init__(self, folder: Path, hub_origin: str = "http://127.0.0.1:9", port: int = 0) -> None:
        self.port = port or free_port()
        self.log = folder / "service.log"
        self.url = f"http://127.0.0.1:{self.port}/services/gpucamp/"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hub_ext.service"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    "JUPYTERHUB_SERVICE_NAME": "gpucamp",
                    "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{self.port}",
                    "JUPYTERHUB_SERVICE_PREFIX": "/services/gpucamp/",
                    "JUPYTERHUB_API_TOKEN": "service-token",
                    "JUPYTERHUB_API_URL": f"{hub_origin}/hub/api",
                    "JUPYTERHUB_CLIENT_ID": "service-gpucamp",
                    "JUPYTERHUB_BASE_URL": "/",
                    "GPUCAMP_STATE_DIR": str(folder),
                    "GPUCAMP_LEDGER_URL": f"sqlite:///{folder / 'ledger.sqlite'}",
                    "GPUCAMP_INVENTORY": "practice",
                    # nothing listens there: an Engine that is down
                    "DOCKER_HOST": "tcp://127.0.0.1:9",
                },
            )

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                requests.get(self.url + "api/v1/health", timeout=1)
                return
            except requests.RequestException:
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def end(self, with_signal: int = signal.SIGTERM) -> int:
        self.process.send_signal(with_signal)
        return self.process.wait(10)


@pytest.fixture
def start(tmp_path):
    started: list[Process] = []

    def start(*args, **kwargs) -> Process:
        process = Process(tmp_path, *args, **kwargs)
        started.append(process)
        return process

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait(10)


def test_it_serves_takes_inventory_and_ends_on_sigterm(start, world, tmp_path):
    with running_service(world) as hub:
        service = start(hub.origin)
        service.wait_until_up()
        headers = {"Authorization": "token admin-token"}
        assert requests.get(service.url + "api/v1/health", timeout=5).status_code == 401
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            health = requests.get(service.url + "api/v1/health", headers=headers, timeout=5).json()
            if health["inventory"] == "ok" and health["engine"] != "not asked yet":
                break
            time.sleep(0.1)
        assert health["hub"] == health["ledger"] == health["inventory"] == "ok"
        assert health["status"] == "degraded", "no Engine answers here"
        assert "Docker Engine" in health["engine"]
        assert service.end() == 0, service.log.read_text()
        assert "Traceback" not in service.log.read_text()
    secret = tmp_path / "hub" / "service_cookie_secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert len(secret.read_bytes()) == 32


def test_it_waits_for_a_ledger_that_is_away(start, tmp_path):
    (tmp_path / "ledger.sqlite").mkdir()  # cannot be opened
    service = start()
    deadline = time.monotonic() + 20
    while "Waiting for the ledger" not in service.log.read_text():
        assert time.monotonic() < deadline, service.log.read_text()
        time.sleep(0.1)
    with pytest.raises(requests.RequestException):
        requests.get(service.url, timeout=0.5)
    (tmp_path / "ledger.sqlite").rmdir()
    service.wait_until_up()
    assert service.end() == 0


def test_a_killed_service_and_its_successor_finish_a_reset_under_a_dead_engine(
    start, world, tmp_path
):
    """SIGKILL in the middle; while no Engine answers, nothing may be switched by anyone."""
    with running_service(world) as hub:
        first = start(hub.origin)
        first.wait_until_up()
        answer = requests.post(
            first.url + "api/v1/users/ada/server/reset",
            headers={"Authorization": "token ada-token"},
            timeout=5,
        )
        assert answer.status_code == 202
        time.sleep(0.5)
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
        second = start(hub.origin)
        second.wait_until_up()
        assert "resuming reset" in second.log.read_text()
        time.sleep(1)
        operation = world.ledger.operation_of("ada", "")
        assert operation.step is OperationStep.STOPPING
        assert world.ledger.environment("ada", "").generation == 1
        assert second.end() == 0
        assert world.ledger.operation_of("ada", "").kind is OperationKind.RESET


def test_it_ends_with_the_hub_that_started_it(tmp_path):
    """A killed hub must not leave a second service behind for its successor to work against."""
    (tmp_path / "ledger.sqlite").mkdir()  # it waits for the ledger, and must end all the same
    hub = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, time\n"
            "child = subprocess.Popen([sys.executable, '-m', 'hub_ext.service'])\n"
            "print(child.pid, flush=True)\n"
            "time.sleep(60)",
        ],
        env={
            **os.environ,
            "JUPYTERHUB_SERVICE_NAME": "gpucamp",
            "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{free_port()}",
            "GPUCAMP_LEDGER_URL": f"sqlite:///{tmp_path / 'ledger.sqlite'}",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert hub.stdout is not None and hub.stderr is not None
    service = int(hub.stdout.readline())
    while "Waiting for the ledger" not in hub.stderr.readline():
        assert hub.poll() is None
    hub.kill()
    hub.wait(10)
    # stderr is the service's, too: its end is the service's end
    try:
        rest = hub.stderr.read()
    except BaseException:
        os.kill(service, signal.SIGKILL)
        raise
    assert "The hub that started this service is gone" in rest


def test_a_second_service_leaves_resets_alone_until_the_first_has_ended(start, world, tmp_path):
    """Two at work on one reset would stop each other's servers."""
    with running_service(world) as hub:
        first = start(hub.origin)
        first.wait_until_up()
        requests.post(
            first.url + "api/v1/users/ada/server/reset",
            headers={"Authorization": "token ada-token"},
            timeout=5,
        )
        second = start(hub.origin, port=first.port)
        deadline = time.monotonic() + 15
        while "Waiting for http://127.0.0.1" not in second.log.read_text():
            assert time.monotonic() < deadline, second.log.read_text()
            time.sleep(0.05)
        assert "resuming" not in second.log.read_text()
        assert first.end() == 0
        while "resuming reset" not in second.log.read_text():
            assert time.monotonic() < deadline, second.log.read_text()
            time.sleep(0.05)
        assert second.end() == 0


def test_without_a_service_url_it_says_how_it_is_started():
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTERHUB")}
    ended = subprocess.run(
        [sys.executable, "-m", "hub_ext.service"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.returncode == 1
    assert "JUPYTERHUB_SERVICE_URL is not set" in ended.stderr


def test_settings_come_from_a_file_and_the_command_line_wins(tmp_path):
    file = tmp_path / "jupyterhub_config.py"
    file.write_text(
        "c.JupyterHub.port = 1\n"  # a hub's file may be given: other sections are not ours
        "c.GpucampService.scan_interval = 3\n"
        "c.GpucampService.stop_timeout = 7\n"
    )
    app = GpucampService()
    app.initialize([f"--config={file}", "--GpucampService.stop_timeout=9"])
    assert (app.scan_interval, app.stop_timeout) == (3, 9)


@pytest.mark.parametrize("url", ["", "8083", "unix:///run/x", "http://127.0.0.1", "https://a:1"])
def test_a_wrong_address_is_refused_at_once(url):
    with pytest.raises(Exception, match="service_url must be"):
        GpucampService(service_url=url + " ")


def test_a_cookie_secret_that_was_cut_short_is_replaced(tmp_path):
    file = tmp_path / "secret"
    file.write_bytes(b"abc")
    first = cookie_secret(str(file))
    assert len(file.read_bytes()) == 32
    assert cookie_secret(str(file)) == first
