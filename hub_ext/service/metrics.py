"""/metrics of the service, for Prometheus.

Guarantees: whoever reads it holds the scope; a scrape reads the ledger once and asks neither Docker
Engine nor driver, and the hub only who is asking; a ledger that is silent costs its own metrics
only, and `gpucamp_part_up` says so. The text is made beside the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

# the same list as in JupyterLab and in a terminal; this module needs nothing but Python
from server_ext.doctor import pages as findings

from .. import __version__
from ..errors import LedgerUnavailable
from ..models import OperationKind
from ..scopes import METRICS_READ
from . import counters
from .api_base import ApiHandler
from .auth import requires
from .ledger_metrics import Now, families
from .reset import Failure

_log = logging.getLogger(__name__)

OPEN_METRICS = "application/openmetrics-text"

for _kind in OperationKind:  # there from the start, as 0
    for _failure in Failure:
        counters.RESET_FAILURES.labels(_kind.value, _failure.value)


class MetricsHandler(ApiHandler):
    @requires(METRICS_READ)
    async def get(self) -> None:
        service = self.service
        at, monitor, figures = service.now(), service.monitor, None
        try:
            figures = await asyncio.to_thread(service.ledger.figures, at)
        except LedgerUnavailable as error:
            _log.warning("metrics without the ledger: %s", error)
        health = monitor.health
        now = Now(
            at=at,
            well={
                "ledger": figures is not None,
                "engine": not health.engine_error,
                "inventory": not health.inventory_error,
                "xids": not health.xid_error,
            },
            version=__version__,
            inventory_at=monitor.inventory_at,
            samples=service.samples.all_latest(at),
            codes=findings.codes(),
        )
        # no more of what was sent than this: the library trips over, and repeats, odd versions
        asked = OPEN_METRICS in self.request.headers.get("Accept", "")
        encode, media = choose_encoder(OPEN_METRICS if asked else "")
        text = await asyncio.to_thread(lambda: encode(registry(families(now, figures))))
        self.set_header("Content-Type", media)
        self.finish(text)


class _Families(Collector):
    """Families that are made already."""

    def __init__(self, made: Iterable[Metric]) -> None:
        self._made = tuple(made)

    def collect(self) -> Iterator[Metric]:
        return iter(self._made)


def registry(made: Iterable[Metric]) -> CollectorRegistry:
    """These families, what was counted, and what the library tells of this process."""
    found = CollectorRegistry()
    found.register(_Families(made))
    for each in counters.ALL:
        found.register(each)
    ProcessCollector(registry=found)
    return found


ROUTES: list[tuple[str, type[ApiHandler]]] = [(r"metrics", MetricsHandler)]
