"""The examples of docs/rest-api.md are run as they stand, by bash, curl, jq and httpx.

What asks JupyterHub itself is run with a real one (tests/browser/test_hub_tokens.py).
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import IO

import pytest
from service_server import RunningService, running_service
from service_world import UUIDS, World, now

DOCS = Path(__file__).resolve().parents[3] / "docs" / "rest-api.md"
BLOCK = re.compile(
    r"^(?P<title>[^\n]+)\n\n```(?P<kind>bash|python)\n(?P<code>.*?)^```$", re.M | re.S
)
FOUND = {
    match["title"]: (match["kind"], match["code"]) for match in BLOCK.finditer(DOCS.read_text())
}


def title_of(beginning: str) -> str:
    (title,) = (each for each in FOUND if each.startswith(beginning))
    return title


TOKEN_FIRST = title_of("A test runs each of them.")
CLIENT = title_of("With [httpx]")
BASH_EVENTS = title_of("As they come, and on after a break")
PYTHON_EVENTS = title_of("Follow what changes, for ever:")
OF_THE_HUB = title_of("404 for people who never signed in")

# what an example shows, by the line above it
SHOWN = {
    title_of(beginning): pattern
    for beginning, pattern in {
        "with the header `Last-Event-ID`": r'"action": "grant",\n  "user": "ada"',
        "What is free now:": rf"^{UUIDS[1]}\tSimulated A100 \(practice\)\thealthy$",
        "Take a device out of use": r'"user": "ada"',
        "An hour more for Ada's lease": r'^"20\d\d-',
        "All leases of the last days": r"^bob\t20\S+\t20\S+\n(.*\n)*ada\t20\S+\t$",
        "Who used how much on which day": r"^day,user,.*\n20\d\d-",
        "Reset Ada's environment": r'"step": "done"',
        "Reset a whole class": r'"waiting": 2',
        "Examine Ada's server": r'"GC102"',
        "Who has had a GPU of late:": r"^bob 20\S+ 20\S+\n(.*\n)*ada 20\S+ now",
        "Start a class": r"'done': 1, 'skipped': 1, 'failed': 0",
    }.items()
}


@pytest.fixture
def service(world: World) -> Iterator[RunningService]:
    world.users |= {"ada": ("class-1",), "bob": ("class-1",)}
    world.stop_server("ada", "")
    world.run_server("ada", term=timedelta(hours=1), at=now() - timedelta(minutes=5))
    world.run_server("bob")
    world.stop_server("bob", "")
    with running_service(world) as running:
        yield running


def command(kind: str, code: str) -> list[str]:
    if kind == "bash":
        return ["bash", "-euo", "pipefail", "-c", code]
    return [sys.executable, "-c", FOUND[CLIENT][1] + code]


def variables(service: RunningService) -> dict[str, str]:
    return {
        **os.environ,
        "TOKEN": "admin-token",
        "api": service.url.rstrip("/") + "/api",
        "UUID": UUIDS[0],
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def test_every_example_is_run() -> None:
    assert set(FOUND) == {*SHOWN, TOKEN_FIRST, CLIENT, BASH_EVENTS, PYTHON_EVENTS, OF_THE_HUB}
    assert DOCS.read_text().count("\n```") == 2 * len(FOUND), "a block with no line above it"


@pytest.mark.parametrize("title", SHOWN)
def test_an_example_does_what_it_says(service: RunningService, tmp_path: Path, title: str) -> None:
    done = subprocess.run(
        command(*FOUND[title]),
        env=variables(service),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(SHOWN[title], done.stdout, re.M), done.stdout


def test_the_first_lines_are_shell(service: RunningService) -> None:
    code = FOUND[TOKEN_FIRST][1] + "echo $TOKEN $api"
    done = subprocess.run(command("bash", code), capture_output=True, text=True, timeout=60)
    assert done.stdout == "… http://127.0.0.1:8000/services/gpucamp/api\n"


def until(condition: Callable[[], bool]) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never came true")


def read(stream: IO[bytes], lines: list[str]) -> None:
    for line in stream:
        lines.append(line.decode())


@pytest.mark.parametrize("title", [BASH_EVENTS, PYTHON_EVENTS])
def test_events_are_followed_through_a_break(
    service: RunningService, world: World, title: str
) -> None:
    kind, code = FOUND[title]
    following = subprocess.Popen(
        command(kind, code), env=variables(service), stdout=subprocess.PIPE, start_new_session=True
    )
    lines: list[str] = []
    assert following.stdout is not None
    reading = threading.Thread(target=read, args=(following.stdout, lines))
    reading.start()
    try:
        until(lambda: any("grant" in line for line in lines))
        events = service.service.events
        asyncio.run_coroutine_threadsafe(events.close(), service.loop).result(10)
        world.ledger.raise_hand("ada", "", "after the break", (), now())
        until(lambda: not events.streams.total())
        events.closing = False
        until(lambda: any("hand.raise" in line for line in lines))
        told = [entry.action for entry in world.ledger.audit_trail(limit=200)]
        assert sum("hand.raise" in line for line in lines) == 1
        assert sum("grant" in line for line in lines) == told.count("grant"), "once each"
    finally:
        os.killpg(following.pid, 9)
        following.wait(30)
        reading.join(30)
