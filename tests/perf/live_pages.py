"""What 200 open live pages cost the service: `make perf-live`; prints a table.

The service's own process with the ledger of big_ledger.py, and a hub and an Engine that answer at
once. 200 visitors signed in as browsers are, with cookies; each has one page open and does what
static/live.js and changes.js do: read the stream of events, fetch the page soon after one that
concerns it, and after a while in any case. 160 participants look at their own page, 24 instructors
at their class, 16 admins at devices, the line, leases and the class of everybody.

    idle    nothing happens
    busy    a class of 200: one of its servers ends and another starts each second, with all that
            the hub writes into the ledger for it; the Engine says so

CPU is that of the service's process and its children, in % of one core; what the visitors, the hub
and the Engine cost here is not in it. Aims: under 20 % in both, and less than 200 MB. Exit 1 if one
is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import aiohttp

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
os.environ["PYTHONPATH"] = str(ROOT)

import big_ledger  # noqa: E402 - found by the lines above
from stand_in_site import ServiceProcess, Site, service_of, site_of  # noqa: E402

from hub_ext.ledger import Ledger  # noqa: E402
from hub_ext.models import Request  # noqa: E402

PAGES, INSTRUCTORS, ADMINS = 200, 24, 16
AIM_PERCENT, AIM_BYTES = 20.0, 200e6
SECONDS, SETTLE = 60, 20
CHANGES_PER_SECOND = 1.0
CHANCE = random.Random(1)  # noqa: S311 - a measurement
SPREAD = 1.0  # as in live.js
WITHOUT_EVENTS = 8.0
URGENT_GAP = 2.0
ATTRIBUTE = re.compile(r'data-(poll|gap|urgent|about|after)="([^"]*)"')
XSRF = re.compile(r'name="xsrf-token" content="([^"]*)"')


def visitors() -> list[tuple[str, str]]:
    """Who has which page open."""
    found = [
        (f"instructor-class-{number % big_ledger.CLASSES:02}", number)
        for number in range(INSTRUCTORS)
    ]
    teachers = [(name, f"class?group={name.removeprefix('instructor-')}") for name, _n in found]
    pages = ("devices", "queue", "leases", "class")
    admins = [("admin", pages[number % len(pages)]) for number in range(ADMINS)]
    own = PAGES - INSTRUCTORS - ADMINS
    return [*teachers, *admins, *((big_ledger.user_name(number * 3), "") for number in range(own))]


@dataclass
class Tally:
    """What all pages did."""

    fetched: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    events: int = 0
    broken: Counter[str] = field(default_factory=Counter)


class OpenPage:
    """One tab."""

    def __init__(self, service: ServiceProcess, who: str, path: str, tally: Tally) -> None:
        self._url, self._who, self._path, self._tally = service.url, who, path, tally
        self._facts: dict[str, str] = {}
        self._xsrf = ""
        self._following = self._is_urgent = False
        self._news = asyncio.Event()

    async def live(self) -> None:
        """Until it is cancelled."""
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(
            cookie_jar=jar, timeout=aiohttp.ClientTimeout(total=None, sock_read=60)
        ) as session:
            await self._sign_in(session)
            await self._fetch(session)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(session))
                tasks.create_task(self._keep_fresh(session))

    async def _sign_in(self, session: aiohttp.ClientSession) -> None:
        """As JupyterHub's OAuth goes, whose code is the visitor's name here."""
        async with session.get(self._url, allow_redirects=False) as answer:
            state = parse_qs(urlparse(answer.headers["Location"]).query)["state"][0]
        query = {"code": self._who, "state": state}
        back = f"{self._url}oauth_callback"
        async with session.get(back, params=query, allow_redirects=False) as answer:
            if answer.status != 302:
                raise RuntimeError(f"{self._who} cannot sign in: {answer.status}")

    def _headers(self, accept: str) -> dict[str, str]:
        """As a browser sends them: the first page is navigated to, the rest are scripts'."""
        mode = {"X-XSRFToken": self._xsrf, "Sec-Fetch-Mode": "cors"}
        if not self._xsrf:
            mode = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        return {"Accept": accept, "Sec-Fetch-Site": "same-origin", **mode}

    async def _fetch(self, session: aiohttp.ClientSession) -> None:
        begun = time.perf_counter()
        headers = self._headers("text/html")
        async with session.get(
            self._url + self._path, headers=headers, allow_redirects=False
        ) as answer:
            text = await answer.text()
            if answer.status != 200:
                self._tally.broken[f"{self._path} {answer.status}"] += 1
                return
        found = XSRF.search(text)
        self._xsrf = self._xsrf or (found[1] if found else "")
        first = not self._facts
        after = self._facts.get("after")
        self._facts = dict(ATTRIBUTE.findall(text))
        if not first:
            self._facts["after"] = after or ""
        self._tally.fetched[self._path.partition("?")[0] or "own page"] += 1
        self._tally.seconds.append(time.perf_counter() - begun)

    async def _keep_fresh(self, session: aiohttp.ClientSession) -> None:
        while True:
            poll = float(self._facts["poll"])
            patience = poll if self._following else min(poll, WITHOUT_EVENTS)
            fetched = time.monotonic()
            try:
                async with asyncio.timeout(patience * CHANCE.uniform(0.8, 1.2)):
                    await self._news.wait()
            except TimeoutError:
                pass
            else:
                gap = URGENT_GAP if self._is_urgent else float(self._facts["gap"])
                pause = fetched + gap - time.monotonic()
                await asyncio.sleep(max(pause, 0) + CHANCE.uniform(0, SPREAD))
            self._news.clear()
            self._is_urgent = False
            await self._fetch(session)

    async def _read(self, session: aiohttp.ClientSession) -> None:
        while True:
            headers = self._headers("text/event-stream")
            if self._facts.get("after"):
                headers["Last-Event-ID"] = self._facts["after"]
            async with session.get(self._url + "api/v1/events", headers=headers) as answer:
                if answer.status != 200:
                    self._tally.broken[f"events {answer.status}"] += 1
                async for raw in answer.content:
                    self._following = True
                    name, _colon, value = raw.decode().rstrip("\n").partition(": ")
                    if name == "id":
                        if not self._facts.get("after"):
                            self._news.set()
                        self._facts["after"] = value
                    elif name == "data":
                        self._tally.events += 1
                        event, about = json.loads(value), self._facts["about"]
                        if not about or event["user"] == about:
                            self._is_urgent |= event["action"] in self._facts["urgent"].split(",")
                            self._news.set()
            self._following = False
            await asyncio.sleep(CHANCE.uniform(0.5, 1.5))


async def change(ledger: Ledger, site: Site) -> None:
    """One server after the other ends, and starts again with the device that it had."""
    number = 0
    while True:
        await asyncio.sleep(1 / CHANGES_PER_SECOND)
        user = big_ledger.user_name(number % 200)
        number += 1
        await asyncio.to_thread(_restart, ledger, site, user, f"c-{number}")


def _restart(ledger: Ledger, site: Site, user: str, container: str) -> None:
    lease = ledger.lease_of(user, "")
    if lease is None:
        return
    site.containers.pop(lease.id, None)
    now = datetime.now(UTC)
    ledger.end(lease.id, "stopped", now)
    wish = Request(user, "", 1, groups=lease.groups, share=True, term=timedelta(hours=8))
    granted = ledger.acquire(wish, lambda _: lease.device_uuids, now)
    if granted is None:
        raise RuntimeError("the device that was just given back is not free")
    ledger.name_container(granted.id, container, now)
    site.run(granted.id, container, user)
    ledger.mark_running(granted.id, container, now)


async def measured(service: ServiceProcess, tally: Tally, what: str, seconds: int) -> bool:
    """Print a row; whether it meets the aims."""
    fetched, events = tally.fetched.total(), tally.events
    tally.seconds.clear()
    before, begun = service.cpu_seconds, time.monotonic()
    await asyncio.sleep(seconds)
    passed = time.monotonic() - begun
    percent = (service.cpu_seconds - before) / passed * 100
    pages = (tally.fetched.total() - fetched) / passed
    told = (tally.events - events) / passed
    slow = sorted(tally.seconds)[int(len(tally.seconds) * 0.95)] * 1e3 if tally.seconds else 0.0
    well = percent < AIM_PERCENT and service.memory_bytes < AIM_BYTES
    print(
        f"{what:>6}{percent:>8.1f}{service.memory_bytes / 1e6:>8.0f}{pages:>10.1f}{told:>10.1f}"
        f"{slow:>10.0f}{'' if well else '   MISSED'}",
        flush=True,
    )
    return well


async def run(service: ServiceProcess, ledger: Ledger, site: Site, seconds: int) -> bool:
    """Idle, then busy."""
    tally = Tally()
    print(f"{'':>6}{'CPU %':>8}{'MB':>8}{'pages/s':>10}{'events/s':>10}{'p95 ms':>10}")
    await asyncio.sleep(5)
    nobody = await measured(service, tally, "alone", seconds // 3)
    pages = []
    for who, path in visitors():
        pages.append(asyncio.create_task(OpenPage(service, who, path, tally).live()))
        await asyncio.sleep(0.05)
    changing: asyncio.Task[None] | None = None
    try:
        await asyncio.sleep(SETTLE)
        idle = await measured(service, tally, "idle", seconds)
        changing = asyncio.create_task(change(ledger, site))
        await asyncio.sleep(SETTLE)
        busy = await measured(service, tally, "busy", seconds)
        for task in (*pages, changing):
            if task.done():
                task.result()
    finally:
        tasks = [*pages, *([changing] if changing is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    print(f"\n{len(pages)} pages open; fetched: {dict(tally.fetched)}")
    print(f"Aims: under {AIM_PERCENT:.0f} % of one core, under {AIM_BYTES / 1e6:.0f} MB.")
    if tally.broken:
        print(f"refused: {dict(tally.broken)}")
    for line in service.troubles()[-20:]:
        print(line)
    return nobody and idle and busy and not tally.broken


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seconds", type=int, default=SECONDS)
    seconds = arguments.parse_args().seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ledger = big_ledger.make(big_ledger.sqlite_url(folder), datetime.now(UTC))
        with site_of(ledger) as site, service_of(folder, site) as service:
            return 0 if asyncio.run(run(service, ledger, site, seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())
