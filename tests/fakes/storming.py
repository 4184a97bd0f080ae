"""A storm: many participants press Start at once, and each stops a moment after being served.

What is checked, all the time: one holder per device in ledger and Engine, every container with its
lease; and at the end: everybody was served, nobody failed, and whoever waited was served in the
order of the line: least used first, among equals in order of arrival.

How fast the hub is meanwhile is measured from a process of its own: GET /hub/health through the
proxy, as a load balancer asks it.
"""

from __future__ import annotations

import asyncio
import bisect
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import aiohttp
from hub_app import HubApp

from hub_ext.models import Snapshot

PROBE = str(Path(__file__).with_name("health_probe.py"))
DEADLINE = 600  # seconds after which a participant counts as lost


@dataclass(frozen=True)
class Latency:
    """Of the hub's answers, in seconds; `failed` are questions without an answer 200."""

    count: int
    median: float
    p99: float
    slowest: float
    failed: int

    @classmethod
    def of(cls, answers: list[tuple[float, int]]) -> Latency:
        seconds = sorted(took for took, _status in answers)
        return cls(
            count=len(answers),
            median=statistics.median(seconds),
            p99=seconds[min(len(seconds) - 1, int(len(seconds) * 0.99))],
            slowest=seconds[-1],
            failed=sum(status != 200 for _took, status in answers),
        )


@dataclass
class Timing:
    """How fast the hub answered others, and how long it took."""

    idle: Latency
    during: Latency
    seconds: float
    failed: dict[str, str]  # participant -> why; empty is right


@dataclass
class Figures:
    """What a storm came to."""

    timing: Timing
    served: list[str]  # in order of grant
    overtaken: list[str]  # what was not in order; empty is right
    looks: int  # how often ledger and Engine were compared


@dataclass(frozen=True)
class Event:
    """A device was granted to a user, or given back."""

    at: datetime
    action: str  # "grant", "end"
    user: str


@dataclass
class _Watch:
    """Looks at ledger and Engine as long as it is entered."""

    hub: HubApp
    check: Callable[[], None]
    snapshots: list[Snapshot] = field(default_factory=list)
    looks: int = 0
    _stopping: bool = False

    async def __aenter__(self) -> _Watch:
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await self._running

    async def _run(self) -> None:
        while not self._stopping:
            self.snapshots.append(await asyncio.to_thread(self.hub.ledger().snapshot))
            await asyncio.to_thread(self.check)
            self.looks += 1
            await asyncio.sleep(0.3)


async def storm(
    hub: HubApp,
    check: Callable[[], None],
    participants: list[str],
    *,
    heavy: list[str],
    stay: float = 1.0,
    idle: float = 5.0,
    niceness: int = 0,
) -> Figures:
    """Let all press Start at once. `heavy` of them have used a device before.

    `check` compares ledger and Engine, and raises AssertionError. `stay` is how many seconds each
    keeps the server, `idle` for how many the hub's speed is measured before. `niceness` is added
    to this process's from then on: elsewhere participants are on other machines.
    """
    tokens = {name: await _token(hub, name) for name in participants}
    for name in heavy:
        await hub.start_server(name, 1)
    await asyncio.sleep(1 if heavy else 0)
    for name in heavy:
        await hub.stop_server(name)
    watch = _Watch(hub, check)
    first = len(_trail(hub))
    timing = await _timed(hub, tokens, stay, idle, niceness, watch=watch)
    trail = _trail(hub)[first:]
    return Figures(
        timing=timing,
        served=[event.user for event in trail if event.action == "grant"],
        overtaken=overtaken(watch.snapshots, trail, hub.devices, live=0),
        looks=watch.looks,
    )


async def storm_without_a_queue(
    hub: HubApp,
    participants: list[str],
    *,
    stay: float = 1.0,
    idle: float = 5.0,
    niceness: int = 0,
) -> Timing:
    """The same on a hub that refuses who comes too early: they press Start again each second."""
    tokens = {name: await _token(hub, name) for name in participants}
    return await _timed(hub, tokens, stay, idle, niceness, again=1.0)


async def _timed(
    hub: HubApp,
    tokens: dict[str, str],
    stay: float,
    idle: float,
    niceness: int,
    watch: _Watch | None = None,
    again: float | None = None,
) -> Timing:
    with Probe(hub.url) as probe:
        await asyncio.sleep(idle)
        resting = probe.answers()
        os.nice(niceness)  # not of the probe, which has begun
        async with watch or nullcontext():
            began = time.monotonic()
            failed = await _all(hub, tokens, stay, again)
            seconds = time.monotonic() - began
        during = probe.answers()[len(resting) :]
    return Timing(Latency.of(resting), Latency.of(during), seconds, failed)


def overtaken(
    snapshots: Sequence[Snapshot], trail: Sequence[Event], devices: int, live: int
) -> list[str]:
    """Who was granted a device though those before them in the line needed all that were free.

    `trail` are grants and ends in the order of the ledger, from a moment when `live` leases were.
    Of the line counts who was seen in it before the grant.
    """
    wrong = []
    granted: set[str] = set()
    free = devices - live
    snapshots = sorted(snapshots, key=lambda seen: seen.now)
    times = [seen.now for seen in snapshots]
    for event in trail:
        if event.action == "end":
            free += 1
            continue
        before = bisect.bisect_left(times, event.at)
        if before:
            seen = snapshots[before - 1]
            waiting = [e for e in seen.queue if e.request.user not in granted]
            waiting.sort(key=lambda e: (seen.usage.get(e.request.user, 0), e.sequence))
            names = [entry.request.user for entry in waiting]
            # one who came since the look stands behind those who have used as little
            if event.user in names and names.index(event.user) >= free:
                wrong.append(f"{event.user} of {names}, with {free} free")
        granted.add(event.user)
        free -= 1
    return wrong


async def _all(
    hub: HubApp, tokens: dict[str, str], stay: float, again: float | None
) -> dict[str, str]:
    """`again`: seconds after which a start that failed is tried again; None: it is not."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(DEADLINE)
    ) as session:

        async def start(server: str, headers: dict[str, str]) -> str:
            body = {"user_options": {"gpus": 1}}
            async with session.post(server, headers=headers, json=body) as answer:
                if answer.status not in (201, 202):
                    return f"{answer.status} {await answer.text()}"
            return await _follow(session, f"{server}/progress", headers)

        async def one(name: str) -> str:
            headers = {"Authorization": f"token {tokens[name]}"}
            server = f"{hub.url}/hub/api/users/{name}/server"
            deadline = time.monotonic() + DEADLINE
            while problem := await start(server, headers):
                if again is None or time.monotonic() > deadline:
                    return problem
                await asyncio.sleep(again)
            await asyncio.sleep(stay)
            async with session.delete(server, headers=headers) as answer:
                return "" if answer.status in (202, 204) else f"stop: {answer.status}"

        outcomes = await asyncio.gather(*(one(name) for name in tokens), return_exceptions=True)
    return {
        name: str(outcome) or repr(outcome)
        for name, outcome in zip(tokens, outcomes, strict=True)
        if outcome
    }


async def _follow(session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> str:
    """Read the progress of a start, as the waiting page does, to its end; what went wrong."""
    async with session.get(url, headers=headers) as answer:
        if answer.status != 200:
            return f"progress: {answer.status} {await answer.text()}"
        async for raw in answer.content:
            if raw.startswith(b"data:"):
                event = json.loads(raw[5:])
                if event.get("ready"):
                    return ""
                if event.get("failed"):
                    return str(event.get("message"))
    return "the progress ended before the server was ready"


async def _token(hub: HubApp, name: str) -> str:
    await hub.add_user(name)
    status, body = await hub.api("POST", f"/users/{name}/tokens", {"note": "storm"})
    assert status == 201, body
    return str(body["token"])


def _trail(hub: HubApp) -> list[Event]:
    """All grants and ends of leases with a device, in order."""
    leases = {lease.id: lease for lease in hub.ledger().leases(include_ended=True)}
    return [
        Event(line.at, line.action, leases[line.lease_id].user)
        for line in hub.ledger().audit_trail()
        if line.action in ("grant", "end") and leases[line.lease_id].device_uuids
    ]


class Probe:
    """A process that asks /hub/health all the time."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/hub/health"

    def __enter__(self) -> Probe:
        self._folder = tempfile.TemporaryDirectory()
        self._file = Path(self._folder.name) / "answers"
        self._process = subprocess.Popen([sys.executable, PROBE, self._url, str(self._file)])
        deadline = time.monotonic() + 120
        while not self._file.exists() or not self._file.read_text():
            assert time.monotonic() < deadline, "the hub's health cannot be asked"
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def answers(self) -> list[tuple[float, int]]:
        """All so far: how many seconds it took, and the status."""
        whole, _, _begun = self._file.read_text().rpartition("\n")
        return [(float(took), int(status)) for took, status in map(str.split, whole.splitlines())]
