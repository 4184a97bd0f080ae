"""A hub of its own, started as `make run` starts one, and two participants in a real Chromium.

The devices are simulated, the rest is not: the Engine hands them out by DeviceRequests, through
the stand-in for NVIDIA's container hook.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from journey import Participant
from lab_server import LabServer
from playwright.sync_api import Browser, Page, sync_playwright
from service_server import RunningService
from service_world import World, make_ledger

REPOSITORY = Path(__file__).resolve().parents[2]
PICTURES = REPOSITORY / "artifacts" / "browser"
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox",  # root, on a host that runs nothing but this
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
OWN_CONFIG = """
c.GPUDockerSpawner.device_injection = "device_request"
c.GpuPolicy.lease_hours = 0.5
"""


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


class Installation:
    """One `make run`: its address and first passwords."""

    def __init__(self, state: Path) -> None:
        self.state = state
        names = ("PORT", "HUB_PORT", "SERVICE_PORT", "PROXY_API_PORT")
        ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self.url = f"http://127.0.0.1:{ports['PORT']}"
        self.environment = {
            **os.environ,
            **{f"GPUCAMP_{name}": str(port) for name, port in ports.items()},
            "GPUCAMP_STATE_DIR": str(state),
            "GPUCAMP_NETWORK": "gpucamp-browser",
            "GPUCAMP_PREFIX": "gpucamp-browser",
            "GPUCAMP_PRACTICE_DEVICES": "2",
        }

    def command(self, name: str) -> None:
        """Run one command of setup_host; its output is the test's."""
        subprocess.run(
            [sys.executable, "-m", "setup_host", name],
            cwd=REPOSITORY,
            env=self.environment,
            check=True,
            timeout=600,
        )

    def start(self) -> None:
        """Start the hub, as `make run` does."""
        self.state.mkdir(parents=True, mode=0o700)
        (self.state / "jupyterhub_config.py").write_text(OWN_CONFIG)
        self.command("run")

    def end(self) -> None:
        """Stop everything and remove what it left in the Engine and on disk."""
        try:
            self.command("stop")
        finally:
            for name in self.volumes():
                subprocess.run(["docker", "volume", "rm", "-f", name], check=False)
            subprocess.run(["docker", "network", "rm", "gpucamp-browser"], check=False)
            log = self.state / "hub" / "hub.log"
            if log.exists():
                shutil.copy(log, PICTURES / "hub.log")
            shutil.rmtree(self.state, ignore_errors=True)

    def volumes(self) -> list[str]:
        """The participants' volumes of this installation."""
        found = subprocess.run(
            ["docker", "volume", "ls", "-q", "--filter", "name=gpucamp-browser-"],
            capture_output=True,
            text=True,
            check=True,
        )
        return found.stdout.split()

    def passwords(self) -> dict[str, str]:
        """name -> first password."""
        from setup_host import accounts

        return {
            name: password
            for name, (password, _) in accounts.read_passwords(
                self.state / "hub" / "first-passwords.txt"
            ).items()
        }


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the old wheel that breaks torch, as the set-up fetched it."""
    folder = tmp_path_factory.mktemp("wheels") / "wheels"
    shutil.copytree(os.environ["GPUCAMP_BREAKING_WHEELS"], folder)
    folder.chmod(0o755)  # docker cp keeps the mode, and participants are not root
    return folder


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running hub of its own."""
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir(parents=True)
    running = Installation(tmp_path_factory.mktemp("browser") / "state")
    try:
        running.start()
        yield running
    finally:
        running.end()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """The Docker Engine."""
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="session")
def image() -> str:
    """The image under test: GPUCAMP_IMAGE, or the one `make image` built."""
    kept = REPOSITORY / ".gpucamp" / "image"
    return os.environ.get("GPUCAMP_IMAGE") or kept.read_text().strip()


@pytest.fixture(scope="session")
def lab(engine: docker.DockerClient, image: str) -> Iterator[LabServer]:
    """A participant's server in the real image, without a hub, for tests of what is in Lab."""
    with LabServer.serving(engine, image) as server:
        yield server


@pytest.fixture
def participants(
    installation: Installation, browser: Browser, wheels: Path
) -> Iterator[tuple[Participant, Participant]]:
    """Two people with a browser window each."""
    passwords = installation.passwords()
    people = tuple(
        Participant(browser, installation.url, name, passwords[name], PICTURES, wheels)
        for name in ("participant1", "participant2")
    )
    try:
        yield people
    finally:
        for person in people:
            person.leave()
        (PICTURES / "console.json").write_text(
            json.dumps({person.name: person.console for person in people}, indent=1)
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    ledger = make_ledger(tmp_path)
    world = World(ledger)
    world.run_server("ada")
    yield world
    ledger.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator:
    """Open a page of the service as its visitor; no script may fail on it."""
    contexts, problems = [], []

    def open_page(service: RunningService, path: str = "", **options) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1100, "height": 800}, **options})
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda line: problems.append(line.text) if "Content Security" in line.text else None,
        )
        page.goto(service.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems
