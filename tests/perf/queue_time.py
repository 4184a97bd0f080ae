"""How long the queue takes to decide, beside how much there is to decide about; prints a table.

`decide` is what each change of the ledger costs all who wait together, `grant` what one start asks
inside its transaction (the same decision, on a snapshot that nobody looked at before), `line_up`
what the pages show: everybody's place and time. All are pure; the time is that of the CPU, so other
processes count only as far as they slow it down. A factor is the growth from the row above, beside
that of n log n.

Three sites: everything leased (the usual look); one device in two hundred free, as after some ends
of leases (the usual decision); and everything free, as after a restart of a whole site, with
hundreds of grants in one decision (the worst).
"""

from __future__ import annotations

import gc
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "fakes")]

from lines import crowd

from hub_ext.fair_queue import decide, grant, line_up
from hub_ext.models import Snapshot

SIZES = ((250, 625), (500, 1250), (1000, 2500), (2000, 5000), (4000, 10_000))
SITES = (("all leased", 0.0), ("a few free", 0.005), ("all free", 1.0))
SNAPSHOTS = 5
ROUNDS = 5


def milliseconds(call: Callable[[Snapshot], object], snapshots: list[Snapshot]) -> list[float]:
    """Each call looks at a snapshot as if it was just read."""
    found = []
    for _ in range(ROUNDS):
        for seen in snapshots:
            seen.derived.clear()
            start = time.thread_time()
            call(seen)
            found.append((time.thread_time() - start) * 1e3)
    return found


def measure(devices: int, waiting: int, free: float) -> dict[str, tuple[float, float]]:
    """Median and worst of each, in milliseconds."""
    snapshots = [crowd(devices, waiting, free, seed) for seed in range(SNAPSHOTS)]
    gc.collect()
    calls: dict[str, Callable[[Snapshot], object]] = {
        "decide": decide,
        "grant": lambda seen: grant(seen, seen.queue[-1].request),
        "line_up": line_up,
    }
    found = {name: milliseconds(call, snapshots) for name, call in calls.items()}
    return {name: (statistics.median(times), max(times)) for name, times in found.items()}


def main() -> None:
    for site, free in SITES:
        print(f"\n{site}")
        print(f"{'devices':>8}{'waiting':>8}" + "".join(_heads()) + f"{'n log n':>9}")
        earlier: tuple[int, dict[str, tuple[float, float]]] | None = None
        for devices, waiting in SIZES:
            times = measure(devices, waiting, free)
            cells = [f"{devices:>8}{waiting:>8}"]
            for name, (median, worst) in times.items():
                factor = "" if earlier is None else f"x{median / earlier[1][name][0]:.1f}"
                cells.append(f"{median:>9.2f}{worst:>8.2f}{factor:>7}")
            size = devices + waiting
            if earlier is not None:
                before = earlier[0]
                expected = size * math.log(size) / (before * math.log(before))
                cells.append(f"{f'x{expected:.1f}':>9}")
            print("".join(cells), flush=True)
            earlier = (size, times)
    print("\nCPU milliseconds: median and worst, and the growth of the median.")


def _heads() -> list[str]:
    return [f"{name:>9}{'worst':>8}{'growth':>7}" for name in ("decide", "grant", "line_up")]


if __name__ == "__main__":
    main()
