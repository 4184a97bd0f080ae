"""How long the queue takes to decide, beside how much there is to decide about; prints a table.

What a hub pays after a change of its ledger, for all who wait together:

- `read`: the ledger (SQLite) is looked at again. This is what `Ledger.snapshot` takes, the objects
  of all that changed and everybody's use included;
- `decide`: whose turn it is and who gets which devices, placement and queue together, on the
  snapshot that was just read. Nothing of it is known from earlier but what the hub keeps from
  snapshot to snapshot (buckets.py); bringing that up to date is part of it;
- `line_up`: everybody's place and time, which the pages show.

`first` is what the first look after a start takes, read and decide, with nothing to go by.

Between two looks one left the line and another came, and a lease ended, whose device went to
somebody new. The time is that of the CPU, so other processes count only as far as they slow it
down. A factor is the growth from the row above, beside that of n log n.

Three sites: everything leased (the usual look); one device in two hundred free, as after some ends
of leases (the usual decision); and everything free, as after a restart of a whole site, with
hundreds of grants in one decision (the worst).
"""

from __future__ import annotations

import gc
import json
import math
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from sqlalchemy import create_engine

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "fakes")]

from lines import HOUR, NOW, crowd  # noqa: E402 - found by the line above

from hub_ext.fair_queue import decide, line_up  # noqa: E402
from hub_ext.ledger import Ledger, tables  # noqa: E402
from hub_ext.ledger.texts import links_text, names_text  # noqa: E402
from hub_ext.models import Request, Snapshot  # noqa: E402

SIZES = ((250, 625), (500, 1250), (1000, 2500), (2000, 5000), (4000, 10_000))
SITES = (("all leased", 0.0), ("a few free", 0.005), ("all free", 1.0))
SEEDS = 3
CHANGES = 7  # of each site of each size
MEASURES = ("read", "decide", "line_up")

A = TypeVar("A")
T = TypeVar("T")


def milliseconds(call: Callable[[A], T], argument: A) -> tuple[float, T]:
    """Of the CPU, and what the call gave."""
    start = time.thread_time()
    result = call(argument)
    return (time.thread_time() - start) * 1e3, result


@contextmanager
def ledger_of(seen: Snapshot) -> Iterator[Ledger]:
    """A ledger that holds what is in a snapshot."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/ledger.sqlite"
        ledger = Ledger(url)
        ledger.migrate()
        engine = create_engine(url)
        with engine.begin() as connection:
            for table, rows in _rows(seen).items():
                if rows:
                    connection.execute(tables.metadata.tables[table].insert(), rows)
        engine.dispose()
        ledger.remember("benchmark", "begun")  # a change, so that all tables have a version
        yield ledger
        ledger.close()


def _rows(seen: Snapshot) -> dict[str, list[dict[str, object]]]:
    no_device_facts = {"simulated": False, "driver_version": "", "cuda_version": "", "reason": ""}
    held = [(lease.id, lease.device_uuids[0]) for lease in seen.leases]
    return {
        "device": [
            {
                "uuid": each.device.uuid,
                "name": each.device.name,
                "memory_bytes": each.device.memory_bytes,
                "slots": 1,
                "state": each.state.value,
                "last_seen": NOW,
                "links": links_text(each.device.links),
                **no_device_facts,
            }
            for each in seen.devices
        ],
        "lease": [
            {
                "id": lease.id,
                "user_name": lease.user,
                "server_name": lease.id,
                "state": lease.state.value,
                "granted_at": lease.granted_at,
                "container_id": "",
                "end_reason": "",
                "expires_at": lease.expires_at,
            }
            for lease in seen.leases
        ],
        "lease_device": [
            {"lease_id": name, "position": 0, "device_uuid": uuid, "slots": 1}
            for name, uuid in held
        ],
        "slot": [{"device_uuid": uuid, "slot": 0, "lease_id": name} for name, uuid in held],
        "queue_entry": [
            {
                "user_name": request.user,
                "server_name": request.server,
                "gpus": request.gpus,
                "enqueued_at": entry.enqueued_at,
                "model": request.model,
                "min_memory_bytes": request.min_memory_bytes,
                "groups": names_text(request.groups),
                "priority": request.priority,
                "term_seconds": request.term.total_seconds() if request.term else None,
                "user_options": json.dumps({"gpus": request.gpus, "model": request.model}),
            }
            for entry in seen.queue
            for request in (entry.request,)
        ],
        "fair_share": [
            {"user_name": user, "device_seconds": seconds, "as_of": NOW}
            for user, seconds in seen.usage.items()
        ],
    }


def change(ledger: Ledger, seen: Snapshot, number: int) -> None:
    """One leaves the line and another comes; a lease ends, and its device goes to somebody new."""
    left = seen.queue[number * 377 % len(seen.queue)].request
    ledger.withdraw(left.user, left.server)
    user, now = f"new-{number}", seen.now
    ledger.enqueue(replace(left, user=user), now)
    if seen.leases:
        ended = seen.leases[number * 37 % len(seen.leases)]
        ledger.end(ended.id, "stopped", now)
        ledger.acquire(Request(user, "job", 1, term=8 * HOUR), lambda _: ended.device_uuids, now)


def measure(devices: int, waiting: int, free: float) -> dict[str, tuple[float, float]]:
    """Median and worst of each, in milliseconds."""
    times: dict[str, list[float]] = defaultdict(list)
    for seed in range(SEEDS):
        with ledger_of(crowd(devices, waiting, free, seed)) as ledger:
            gc.collect()
            read, seen = milliseconds(ledger.snapshot, NOW)
            decided, _ = milliseconds(decide, seen)
            times["first"].append(read + decided)
            for number in range(CHANGES):
                change(ledger, seen, number)
                now = seen.now + timedelta(seconds=1)
                taken, seen = milliseconds(ledger.snapshot, now)
                times["read"].append(taken)
                for call in (decide, line_up):
                    taken, _ = milliseconds(call, seen)
                    times[call.__name__].append(taken)
    return {name: (statistics.median(found), max(found)) for name, found in times.items()}


def main() -> None:
    for site, free in SITES:
        print(f"\n{site}")
        print(f"{'devices':>8}{'waiting':>8}" + "".join(_heads()) + f"{'n log n':>9}{'first':>8}")
        earlier: tuple[int, dict[str, tuple[float, float]]] | None = None
        for devices, waiting in SIZES:
            times = measure(devices, waiting, free)
            cells = [f"{devices:>8}{waiting:>8}"]
            for name in MEASURES:
                median, worst = times[name]
                factor = "" if earlier is None else f"x{median / earlier[1][name][0]:.1f}"
                cells.append(f"{median:>9.2f}{worst:>8.2f}{factor:>7}")
            size = devices + waiting
            expected = ""
            if earlier is not None:
                expected = f"x{size * math.log(size) / (earlier[0] * math.log(earlier[0])):.1f}"
            cells.append(f"{expected:>9}{times['first'][0]:>8.0f}")
            print("".join(cells), flush=True)
            earlier = (size, times)
    print("\nCPU milliseconds: median and worst, and the growth of the median.")


def _heads() -> list[str]:
    return [f"{name:>9}{'worst':>8}{'growth':>7}" for name in MEASURES]


if __name__ == "__main__":
    main()
