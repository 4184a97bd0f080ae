"""Counts the Docker Engine's failures, in the hub and in the service.

Guarantees: any thread may count; what is counted is shown by whatever registry the process
registers FAILED_CALLS in (spawn_metrics.py in the hub, service/metrics.py in the service).
"""

from __future__ import annotations

from prometheus_client import Counter

FAILED_CALLS = Counter(
    "gpucamp_engine_failed_calls",
    "Calls to the Docker Engine that failed: it refused (an error other than 404), could not be "
    "reached (unavailable), or was silent (timeout).",
    ["reason"],
    registry=None,
)

for _reason in ("refused", "unavailable", "timeout"):  # there from the start, as 0
    FAILED_CALLS.labels(_reason)


def refused() -> None:
    """It answered with an error."""
    FAILED_CALLS.labels("refused").inc()


def unavailable() -> None:
    """It could not be reached, or its answer was cut or garbled."""
    FAILED_CALLS.labels("unavailable").inc()


def silent() -> None:
    """A question was given up after a while."""
    FAILED_CALLS.labels("timeout").inc()
