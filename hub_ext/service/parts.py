"""The parts of the running service that handlers work with, and the table of all handlers.

Guarantees: every address below the service's prefix is in this one table; what is not is a page
that says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jupyterhub.services.auth import HubOAuth
from tornado.httpserver import HTTPServer
from tornado.web import Application as WebApplication
from tornado.web import StaticFileHandler

from ..health import XidEvent
from ..host_facts import HostLook
from ..ledger import Ledger
from ..settings_in_force import Setting
from . import api, metrics, page_base, pages
from .body_limit import UNLIMITED, BodyLimit
from .ddp_tellings import DdpTellings
from .device_samples import DeviceSamples
from .event_feed import EventFeed
from .examinations import Examinations
from .group_operations import GroupOperations
from .handlers import ServiceHandler
from .hub_api import HubClient
from .idempotency import Requests
from .images import Images
from .kept_files import KeptFiles
from .monitor import Monitor
from .rates import Rate
from .reset import ResetWorkflow
from .revival import Revival
from .roster import Roster
from .scrapes import Scrapes
from .space_watch import SpaceWatch
from .terms_loop import TermsLoop

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Service:
    """The parts that handlers work with."""

    ledger: Ledger
    hub: HubClient
    resets: ResetWorkflow
    group_operations: GroupOperations
    monitor: Monitor
    events: EventFeed
    terms: TermsLoop
    revival: Revival
    examinations: Examinations
    space: SpaceWatch
    kept_files: KeptFiles
    images: Images
    roster: Roster
    prefix: str  # of this service, "/services/gpucamp/"
    hub_prefix: str  # "/hub/"
    image: str  # what new servers get, if the ledger says nothing else
    recent_xids: Callable[[], Sequence[XidEvent]] = tuple  # of this run, of all cards
    host: HostLook | None = None
    hand_rate: Rate = field(default_factory=lambda: Rate(10, 60.0))  # raised, by user
    scrapes: Scrapes = field(default_factory=Scrapes)
    ddp_tellings: DdpTellings = field(default_factory=DdpTellings)
    settings: Sequence[Setting] = ()  # of this service
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def samples(self) -> DeviceSamples:
        """What devices did over the last ten minutes."""
        return self.monitor.samples

    @property
    def hub_base_url(self) -> str:
        """The base URL of the whole JupyterHub, "/"."""
        return self.hub_prefix.removesuffix("hub/")


def make_web_application(service: Service, hub_auth: HubOAuth, **settings: Any) -> WebApplication:
    """The table of handlers below the service's prefix."""
    handlers: list[tuple[str, type[ServiceHandler]]] = [
        *api.ROUTES,
        *metrics.ROUTES,
        (r"oauth_callback", pages.CallbackHandler),
    ]
    static = (
        service.prefix + r"static/(.*)",
        StaticFileHandler,
        {"path": str(HERE / "static")},
    )
    return WebApplication(
        [static, *_routes(service.prefix, handlers), *_routes(service.prefix, pages.ROUTES)],
        service=service,
        hub_auth=hub_auth,
        requests=Requests(service.ledger, service.now),
        templates=page_base.make_templates(),
        **settings,
    )


def _routes(
    prefix: str, handlers: Sequence[tuple[str, type[ServiceHandler]]]
) -> list[tuple[str, type[ServiceHandler], dict[str, str]]]:
    return [
        (prefix + pattern, handler, {"route": route_of(pattern)}) for pattern, handler in handlers
    ]


def route_of(pattern: str) -> str:
    """A pattern of the table as metrics name it: /api/v1/users/{user}/server."""
    named = re.sub(r"\(\?P<(\w+?)(?:_name|_id)?>[^)]*\)", r"{\1}", pattern).replace("\\.", ".")
    plain = re.fullmatch(r"[\w./{}-]*", named)
    return f"/{named}" if plain else "unknown"


def make_http_server(application: WebApplication, prefix: str) -> HTTPServer:
    """A server for the application that limits bodies; behind JupyterHub's proxy."""
    return HTTPServer(BodyLimit(application, prefix), xheaders=True, max_body_size=UNLIMITED)
