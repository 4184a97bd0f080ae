"""/metrics of the service, for Prometheus.

Guarantees: whoever reads it holds the scope; a scrape reads the ledger once and asks neither Docker
Engine nor driver, and the hub only who is asking; a ledger that is silent or slow costs its own
metrics only, and `gpucamp_part_up` says so; a hub that is silent is told after HUB_SECONDS. The
text is made beside the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

# the same list as in JupyterLab and in a terminal; this module needs nothing but Python
from server_ext.doctor import pages as findings

from .. import __version__
from ..errors import HubUnavailable
from ..models import OperationKind
from ..scopes import METRICS_READ
from . import counters
from .api_base import ApiHandler
from .auth import requires
from .ledger_metrics import Now, families
from .reset import Failure

HUB_SECONDS = 5.0  # until a hub that is silent is told: Prometheus gives up after 10 s by default
OPEN_METRICS = "application/openmetrics-text"

for _kind in OperationKind:  # there from the start, as 0
    for _failure in Failure:
        counters.RESET_FAILURES.labels(_kind.value, _failure.value)


class MetricsHandler(ApiHandler):
    async def identify(self) -> bool:
        try:
            async with asyncio.timeout(HUB_SECONDS):
                return await super().identify()
        except TimeoutError as error:
            raise HubUnavailable("JupyterHub did not say who is asking.") from error

    @requires(METRICS_READ)
    async def get(self) -> None:
        service = self.service
        at, monitor = service.now(), service.monitor
        figures = await service.scrapes.figures(service.ledger.figures, at)
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
        text = await service.scrapes.aside(lambda: encode(registry(families(now, figures))))
        self.set_header("Content-Type", media)
        self.finish(text)


class _Families(Collector):
    """Families that are made already."""

    def __init__(self, made: Iterable[Metric]) -> None:
        self._made = tuple(made)

    def collect(self) -> Iterator[Metric]:
        return iter(self._made)


def _counted() -> Iterator[Metric]:
    """Without when each was counted first: series of their own that nobody asks for."""
    for counter in counters.ALL:
        for family in counter.collect():
            family.samples = [each for each in family.samples if not each.name.endswith("_created")]
            yield family


def registry(made: Iterable[Metric]) -> CollectorRegistry:
    """These families, what was counted, and what the library tells of this process."""
    found = CollectorRegistry()
    found.register(_Families((*made, *_counted())))
    ProcessCollector(registry=found)
    return found


ROUTES: list[tuple[str, type[ApiHandler]]] = [(r"metrics", MetricsHandler)]
