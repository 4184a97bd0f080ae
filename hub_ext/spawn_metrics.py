"""How long each stage of a start took, in the hub's own metrics (/hub/metrics).

Guarantees: each stage that began is counted once, with how it ended, also if it raises or is
cancelled; all pairs of labels are there from the start, and there are no others.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from prometheus_client import REGISTRY, Histogram

from .engine_metrics import FAILED_CALLS


class Stage(StrEnum):
    """The stages, in order."""

    OPTIONS = "options"  # what was asked for is checked
    ROOM = "room"  # what an earlier start left is removed
    PULL = "pull"  # the image is looked for, and pulled if it is missing
    QUEUE = "queue"  # in line, until there is a lease
    SLOT = "slot"  # behind other starts (GPUDockerSpawner.concurrent_starts)
    CREATE = "create"  # the container is made
    START = "start"  # the container is started
    READY = "ready"  # until JupyterLab answers


ENDINGS = ("succeeded", "failed", "cancelled")

STAGE_SECONDS = Histogram(
    "gpucamp_spawn_stage_duration_seconds",
    "How long a stage of a server's start took, by stage and ending.",
    ["stage", "ending"],
    buckets=(
        *(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600),
        *(1200, 3600, 14400),  # pulls, and the line
    ),
    registry=REGISTRY,
)
REGISTRY.register(FAILED_CALLS)

for _stage in Stage:
    for _ending in ENDINGS:
        STAGE_SECONDS.labels(_stage.value, _ending)


@contextmanager
def timed(stage: Stage) -> Iterator[None]:
    """Time what is done within."""
    began = time.perf_counter()
    ending = "cancelled"  # CancelledError, GeneratorExit: no Exceptions
    try:
        yield
        ending = "succeeded"
    except Exception:
        ending = "failed"
        raise
    finally:
        STAGE_SECONDS.labels(stage.value, ending).observe(time.perf_counter() - began)
