"""How long the service takes to answer with a year of history: `make perf-rest`; prints a table.

The service's own process over HTTP, with the ledger of big_ledger.py (1,000 users, 64 devices, 500
leases that run and 100,000 that ended, 400,000 lines of the trail) and a hub and an Engine that
answer at once. Each list of the REST API, some with filters and some as far back as they go, and
each page; one request after another on one connection, each list in turn, so that a slow moment
falls on all alike. Nothing is asked twice in a row, and no answer is "not modified".

On SQLite and on PostgreSQL, one after the other: --database names one of them.

Aim: 50 ms at the 95th percentile for every list, the longest pages included (500 rows, 100 of
users); exit 1 if one misses it. What is one answer of thousands of rows, and pages, are shown
without an aim.
"""

from __future__ import annotations

import argparse
import http.client
import math
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent), str(ROOT / "tests" / "fakes")]
os.environ["PYTHONPATH"] = str(ROOT)

import big_ledger  # noqa: E402 - found by the lines above
from postgres_cluster import PostgresCluster  # noqa: E402
from stand_in_site import PREFIX, ServiceProcess, service_of, site_of  # noqa: E402

AIM = 0.050  # seconds, 95th percentile
ROUNDS = 100
SQLITE, POSTGRESQL = DATABASES = ("SQLite", "PostgreSQL")
ADMIN, TEACHER, PARTICIPANT = "admin", "instructor-class-03", "user-0003"


def reports(today: date) -> list[tuple[str, str]]:
    """Who asks for what is no list of pages: 9,000 rows in one answer."""
    month = f"since={today - timedelta(days=29)}&until={today}"
    return [(ADMIN, f"usage?{month}&by=user,day")]


def lists(now: datetime) -> list[tuple[str, str]]:
    """Who asks for which list."""
    today = now.date()
    half_a_year = (now - timedelta(days=180)).strftime("%Y-%m-%dT%H:%M:%SZ")
    year = f"since={today - timedelta(days=364)}&until={today}"
    device = big_ledger.UUIDS[5]
    paths = [
        "devices",
        "devices?state=healthy&pool=shared",
        f"devices/{device}/history",
        f"devices/{device}/history?limit=500",
        "leases",
        "leases?limit=500",
        "leases?include_ended=1",
        "leases?include_ended=1&limit=500",
        "leases?include_ended=1&user=user-0700",
        "leases?include_ended=1&group=class-07",
        f"leases?include_ended=1&device={device}",
        "leases?state=ended&group=nobody",
        f"leases?include_ended=1&since={half_a_year}",
        f"leases?include_ended=1&since={half_a_year}&user=user-0700",
        "memory",
        "settings",
        "queue",
        "audit",
        "audit?limit=500",
        "audit?user=user-0700",
        "audit?action=cordon",
        f"audit?until={half_a_year}",
        f"audit?since={half_a_year}&actor=hub",
        "events",
        "events?after=300000",
        "usage",
        f"usage?{year}&by=day",
        f"usage?{year}&by=group",
        f"usage?{year}&by=user",
        f"usage?{year}&by=user&format=csv",
        "servers",
        "servers?limit=500",
        "class",
        "class?group=class-03",
        "groups",
        "users",
        "users?group=class-03",
    ]
    found = [(ADMIN, path) for path in paths]
    found += [(TEACHER, path) for path in ("servers", "class", "users", "groups")]
    return [*found, (PARTICIPANT, "servers"), (PARTICIPANT, "users")]


PAGES = [
    *(
        (ADMIN, path)
        for path in ("devices", "queue", "usage", "class?view=table", "class", "groups")
    ),
    *((ADMIN, path) for path in ("leases", "leases?days=7", "settings")),
    (ADMIN, f"devices/{big_ledger.UUIDS[5]}"),
    (TEACHER, "class?group=class-03"),
    (PARTICIPANT, ""),
]


class Client:
    """One connection to the service."""

    def __init__(self, service: ServiceProcess) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)

    def ask(self, who: str, path: str) -> tuple[float, int]:
        """Seconds until the answer was read, and its size. Raises RuntimeError for a refusal."""
        headers = {"Authorization": f"token {who}", "Accept": "*/*"}
        begun = time.perf_counter()
        self._connection.request("GET", PREFIX + path, headers=headers)
        answer = self._connection.getresponse()
        body = answer.read()
        seconds = time.perf_counter() - begun
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {body[:500]!r}")
        return seconds, len(body)


def percentile(seconds: Sequence[float], share: float) -> float:
    """The least that this share of them does not exceed."""
    return sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)]


def measure(service: ServiceProcess, rounds: int) -> bool:
    """Print the table; whether every list meets the aim."""
    client = Client(service)
    now = datetime.now(UTC)
    asked = [(who, f"api/v1/{path}", True) for who, path in lists(now)]
    asked += [(who, f"api/v1/{path}", False) for who, path in reports(now.date())]
    asked += [(who, path, False) for who, path in PAGES]
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    sizes: dict[tuple[str, str], int] = {}
    for number in range(rounds + 2):
        for who, path, _aimed in asked:
            seconds, sizes[who, path] = client.ask(who, path)
            if number >= 2:  # the first ones open files and fill caches
                times[who, path].append(seconds)
    print(f"{'ms: median':>10}{'p95':>8}{'worst':>8}{'KB':>7}   who asks for what")
    well = True
    for who, path, aimed in asked:
        found, what = times[who, path], path or "(own page)"
        late = aimed and percentile(found, 0.95) > AIM
        well = well and not late
        print(
            f"{percentile(found, 0.5) * 1e3:>10.1f}{percentile(found, 0.95) * 1e3:>8.1f}"
            f"{max(found) * 1e3:>8.1f}{sizes[who, path] / 1e3:>7.0f}   {who}: {what}"
            + ("   MISSED" if late else "")
        )
    print(
        f"\nAim for lists (api/v1): {AIM * 1e3:.0f} ms, 95th percentile of {rounds} requests each."
    )
    print(f"The service then holds {service.memory_bytes / 1e6:.0f} MB.")
    for line in service.troubles():
        print(line)
    return well


@contextmanager
def empty_database(kind: str, folder: Path) -> Iterator[str]:
    """Its URL, while it is there."""
    if kind == SQLITE:
        yield big_ledger.sqlite_url(folder)
        return
    cluster = PostgresCluster()
    try:
        cluster.start(shared_buffers="128MB")  # PostgreSQL's own default
        yield cluster.url(cluster.new_database())
    finally:
        cluster.close()


def measure_on(kind: str, rounds: int) -> bool:
    """Print the table of one kind of database; whether every list meets the aim."""
    print(f"\n{kind}\n")
    with tempfile.TemporaryDirectory() as name, empty_database(kind, Path(name)) as url:
        ledger = big_ledger.make(url, datetime.now(UTC))
        variables = {"GPUCAMP_LEDGER_URL": url}
        with site_of(ledger) as site, service_of(Path(name), site, variables) as service:
            well = measure(service, rounds)
        ledger.close()
    return well


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=ROUNDS)
    arguments.add_argument("--database", choices=DATABASES)
    chosen = arguments.parse_args()
    kinds = [chosen.database] if chosen.database else DATABASES
    return 0 if all([measure_on(kind, chosen.rounds) for kind in kinds]) else 1


if __name__ == "__main__":
    sys.exit(main())
