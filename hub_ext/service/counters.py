"""What the service counts from the start of its process: requests, resets, pulls, reconciling, lag.

Guarantees: labels come from closed lists only (routes, methods, enums), never from what somebody
sent; to count never raises. Any thread may count. All are shown by metrics.py, and by nothing else:
no registry is global.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime

from prometheus_client import Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase
from tornado.web import RequestHandler

from ..ddp_runs import ENDINGS
from ..engine_metrics import FAILED_CALLS
from ..images import ImagePull, PullState
from ..models import GroupAction, MemberState, Operation, OperationKind
from ..reconcile import Action, AdoptContainer, EndLease, MarkGone, RemoveContainer

OTHER = "other"
LAG_SECONDS = 1.0  # between two looks at the event loop

HTTP_REQUESTS = Counter(
    "gpucamp_http_requests",
    "HTTP requests that reached a handler, by route, method and status.",
    ["route", "method", "status"],
    registry=None,
)
UNEXPECTED = Counter(  # of no route: it is there as 0, so that the first one is an increase
    "gpucamp_unexpected_errors",
    "HTTP requests that were answered 500, each of which is a bug; the log has the traceback.",
    registry=None,
)
HTTP_SECONDS = Histogram(
    "gpucamp_http_request_duration_seconds",
    "How long HTTP requests took until their answer was written, or a stream had begun, by route "
    "and method.",
    ["route", "method"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
    registry=None,
)
RESET_SECONDS = Histogram(
    "gpucamp_reset_duration_seconds",
    "How long resets and undos took from the request to their end, by kind and ending.",
    ["kind", "ending"],
    buckets=(1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1200),
    registry=None,
)
RESET_FAILURES = Counter(
    "gpucamp_reset_failures",
    "Resets and undos that failed, by kind and failure (its code over REST).",
    ["kind", "failure"],
    registry=None,
)
GROUP_RESULTS = Counter(
    "gpucamp_group_results",
    "Members of groups who got their result of a start, stop or reset of everybody, by both.",
    ["action", "result"],
    registry=None,
)
PULL_SECONDS = Histogram(
    "gpucamp_image_pull_duration_seconds",
    "How long pulls of images that were asked for took to their end, by ending.",
    ["ending"],
    buckets=(1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200),
    registry=None,
)
RECONCILE_ROUNDS = Counter(
    "gpucamp_reconcile_rounds",
    "Comparisons of ledger and Docker Engine, by how they ended.",
    ["outcome"],
    registry=None,
)
RECONCILE_ACTIONS = Counter(
    "gpucamp_reconcile_actions",
    "What reconciling did about differences between ledger and Docker Engine.",
    ["action"],
    registry=None,
)
DDP_RUNS = Counter(
    "gpucamp_ddp_runs",
    "DDP runs that are over, by how they ended, as their servers told it.",
    ["ending"],
    registry=None,
)
LOOP_LAG = Histogram(
    "gpucamp_event_loop_lag_seconds",
    "How much later than asked for the event loop came back, measured each second.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
    registry=None,
)

ALL: tuple[MetricWrapperBase, ...] = (
    HTTP_REQUESTS,
    UNEXPECTED,
    HTTP_SECONDS,
    RESET_SECONDS,
    RESET_FAILURES,
    GROUP_RESULTS,
    PULL_SECONDS,
    RECONCILE_ROUNDS,
    RECONCILE_ACTIONS,
    DDP_RUNS,
    LOOP_LAG,
    FAILED_CALLS,
)

ROUND_OUTCOMES = ("succeeded", "engine_unavailable", "failed")
_ACTIONS: dict[type[Action], str] = {
    EndLease: "end_lease",
    MarkGone: "mark_gone",
    RemoveContainer: "remove_container",
    AdoptContainer: "adopt_container",
}

_PULL_ENDINGS = {
    PullState.DONE: "succeeded",
    PullState.FAILED: "failed",
    PullState.CANCELLED: "cancelled",
    PullState.CUT_OFF: "cut_off",
}
_RESET_RESULTS = (MemberState.DONE, MemberState.FAILED)
_RESULTS: dict[GroupAction, tuple[MemberState, ...]] = {
    GroupAction.RESET: _RESET_RESULTS,
    GroupAction.START: (*_RESET_RESULTS, MemberState.SKIPPED, MemberState.QUEUED),
    GroupAction.STOP: (*_RESET_RESULTS, MemberState.SKIPPED),
}

# there from the start, as 0: the first one is seen by rate(), too
for _kind in OperationKind:
    for _ending in ("succeeded", "failed"):
        RESET_SECONDS.labels(_kind.value, _ending)
for _ending in ENDINGS:
    DDP_RUNS.labels(_ending)
for _group_action, _results in _RESULTS.items():
    for _result in _results:
        GROUP_RESULTS.labels(_group_action.value, _result.value)
for _ending in _PULL_ENDINGS.values():
    PULL_SECONDS.labels(_ending)
for _outcome in ROUND_OUTCOMES:
    RECONCILE_ROUNDS.labels(_outcome)
for _name in _ACTIONS.values():
    RECONCILE_ACTIONS.labels(_name)


def http_request(route: str, method: str | None, status: int, seconds: float) -> None:
    """A request was answered; `route` is one of the table of handlers."""
    known = method if method in RequestHandler.SUPPORTED_METHODS else OTHER
    HTTP_REQUESTS.labels(route, known, str(status)).inc()
    if status == 500:
        UNEXPECTED.inc()
    HTTP_SECONDS.labels(route, known).observe(seconds)


def reset_ended(operation: Operation, now: datetime, failure: str = "") -> None:
    """A reset or undo came to its end; "" is success."""
    kind = operation.kind.value
    seconds = max(0.0, (now - operation.requested_at).total_seconds())
    RESET_SECONDS.labels(kind, "failed" if failure else "succeeded").observe(seconds)
    if failure:
        RESET_FAILURES.labels(kind, failure).inc()
    if operation.group_reset:
        group_result(GroupAction.RESET, MemberState.FAILED if failure else MemberState.DONE)


def group_result(action: GroupAction, result: MemberState) -> None:
    """A member of a group got the result of what is done about everybody."""
    GROUP_RESULTS.labels(action.value, result.value).inc()


def pull_ended(pull: ImagePull) -> None:
    """A pull came to its end."""
    if pull.ended_at is not None:
        seconds = max(0.0, (pull.ended_at - pull.requested_at).total_seconds())
        PULL_SECONDS.labels(_PULL_ENDINGS[pull.state]).observe(seconds)


def round_ended(outcome: str) -> None:
    """A comparison of ledger and Engine ended, as one of ROUND_OUTCOMES."""
    RECONCILE_ROUNDS.labels(outcome).inc()


def reconciled(action: Action) -> None:
    """Reconciling did this."""
    RECONCILE_ACTIONS.labels(_ACTIONS[type(action)]).inc()


async def watch_loop(seconds: float = LAG_SECONDS) -> None:
    """Measure how late the event loop is, without end."""
    while True:
        asked = time.perf_counter()
        await asyncio.sleep(seconds)
        LOOP_LAG.observe(max(0.0, time.perf_counter() - asked - seconds))
