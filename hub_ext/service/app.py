"""The managed service "gpucamp": settings, wiring, start and stop.

JupyterHub starts it (`python -m hub_ext.service`) and says in environment variables where to listen
(JUPYTERHUB_SERVICE_URL), below which path (JUPYTERHUB_SERVICE_PREFIX) and with which token.

Guarantees: it answers only when the ledger does; it first goes on with resets that an earlier
service left unfinished; SIGTERM, and the end of the hub that started it, end it within seconds and
leave such resets for the next one. So there are never two services at work on one reset.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from jupyterhub.services.auth import HubOAuth
from tornado.log import LogFormatter
from traitlets import Bool, Float, Integer, List, Unicode, default, validate
from traitlets.config import Application, catch_config_error

from .. import __version__
from ..engine import EngineClient
from ..engine_exec import EngineExec
from ..engine_pull import EnginePull
from ..garbage import pass_over_what_is_there
from ..host_facts import HostLook
from ..inventory import DeviceWatch, discover, out_of_use
from ..ledger import Ledger
from ..settings_in_force import settings_of
from ..volumes import PREFIX
from .containers import HubContainers
from .cookie_secret import cookie_secret
from .counters import watch_loop
from .event_feed import EventFeed
from .examinations import Examinations
from .group_operations import GroupOperations
from .group_servers import GroupServers
from .group_servers import Limits as GroupLimits
from .hub_api import HubClient
from .image_pulls import ImagePulls
from .images import Images
from .kept_files import KeptFiles
from .lifetime import end_with_hub, listen, open_ledger
from .loops import every
from .monitor import Monitor
from .parts import Service, make_http_server, make_web_application
from .practice_use import PracticeUse
from .reset import Limits, ResetWorkflow
from .revival import Revival
from .roster import Roster
from .space_watch import SpaceWatch
from .terms_loop import TermsLoop
from .verdict_rounds import forget_lost_hands, forget_lost_servers

PRUNE_SECONDS = 24 * 3600.0


class GpucampService(Application):
    """gpucamp's service beside JupyterHub: inventory, reconciling, resets, REST and pages."""

    name = "gpucamp-service"
    version = __version__
    description = __doc__
    _watch: DeviceWatch | None = None  # while it serves

    aliases = {
        "config": "GpucampService.config_file",
        "ledger": "GpucampService.ledger_url",
        "log-level": "Application.log_level",
    }
    flags: dict[str, Any] = {}

    config_file = Unicode("", help="A Python file with traitlets configuration.").tag(config=True)

    service_url = Unicode(
        help="Where to listen, http://ADDRESS:PORT. Default: $JUPYTERHUB_SERVICE_URL."
    ).tag(config=True)

    ledger_url = Unicode(
        help="""The ledger, an SQLAlchemy URL.

        Default: $GPUCAMP_LEDGER_URL, else ledger.sqlite in $GPUCAMP_STATE_DIR/hub."""
    ).tag(config=True)

    image = Unicode(
        help="""The image that new servers get, if the hub has not told the ledger (it does, unless
        `check_before_start` is left out of its configuration). Default: $GPUCAMP_IMAGE."""
    ).tag(config=True)

    image_repositories = List(
        Unicode(),
        help="""Repositories, such as `registry.school.example/gpucamp/torch-cuda`, from which
        images may be pulled, and chosen for new servers, by REST and on the page Images. That of
        the configured image always is one. Images that were built on the host from gpucamp's may
        be chosen, too; one without the label `gpucamp.image` is not.""",
    ).tag(config=True)

    practice_devices = Integer(
        help="""How many simulated devices to offer on a host without an NVIDIA GPU.

        Default: $GPUCAMP_PRACTICE_DEVICES, else 2."""
    ).tag(config=True)

    inventory_enabled = Bool(
        True, help="Look for devices here. Turn off where another process records them."
    ).tag(config=True)

    scan_interval = Float(5.0, min=0.5, help="Seconds between two inventories of the devices.").tag(
        config=True
    )

    scan_timeout = Float(
        20.0, min=0.1, help="Seconds after which an inventory counts as hung; the last one stays."
    ).tag(config=True)

    xid_quarantine = Float(
        600.0,
        min=0,
        help="""Seconds for which a device gets no new leases after a fatal XID of its card.

        XIDs are the NVIDIA driver's error numbers; those that a user's program causes do not count.
        After that time it comes back by itself, if NVML calls it well.""",
    ).tag(config=True)

    reconcile_interval = Float(
        5.0, min=0.2, help="Seconds between two comparisons of ledger and Docker Engine."
    ).tag(config=True)

    terms_interval = Float(
        5.0,
        min=0.2,
        help="""Seconds between two looks at the ends of leases and at idle devices.

        Less than a minute: after a longer pause, leases that are over go on for a while.""",
        max=30.0,
    ).tag(config=True)

    revival_interval = Float(
        3.0,
        min=0.2,
        help="Seconds between two looks for starts that waited in line when the hub ended.",
    ).tag(config=True)

    history_days = Float(
        90.0,
        min=1,
        help="""Days for which leases that ended and the audit trail are kept.

        How much was used, by user, group, device and day, is kept for ever.""",
    ).tag(config=True)

    stop_timeout = Float(
        120.0,
        min=1,
        help="Seconds that a server may take to stop during a reset, or the stop of a group.",
    ).tag(config=True)

    start_timeout = Float(
        600.0,
        min=1,
        help="Seconds that a server may take to start during a reset, or the start of a group.",
    ).tag(config=True)

    group_operations_at_once = Integer(
        4,
        min=1,
        help="""How many servers are reset, started or stopped at a time, for all groups together.

        Higher is sooner done and a greater load; what users do by themselves does not count.""",
    ).tag(config=True)

    space_interval = Float(
        900.0,
        min=1,
        help="""Seconds between measurements of what the volumes take. The Docker Engine reads
        through all of them for that.""",
    ).tag(config=True)

    auth_cache_seconds = Integer(
        60,
        min=1,
        help="""Seconds for which JupyterHub's answer about a token is believed.

        Lower means that a withdrawn right ends sooner; higher means fewer questions to the hub.""",
    ).tag(config=True)

    cookie_secret_file = Unicode(
        help="""The file with the secret that signs cookies, made at first start (mode 600).

        Default: service_cookie_secret in $GPUCAMP_STATE_DIR/hub. "" makes a new secret at each
        start: browsers then pass by JupyterHub again, which nobody notices much."""
    ).tag(config=True)

    name_prefix = Unicode(
        help="""How the names of environment volumes begin; the spawner's `prefix` is the same.

        Default: $GPUCAMP_PREFIX, else gpucamp."""
    ).tag(config=True)

    @default("service_url")
    def _default_service_url(self) -> str:
        return os.environ.get("JUPYTERHUB_SERVICE_URL", "")

    @default("ledger_url")
    def _default_ledger_url(self) -> str:
        given = os.environ.get("GPUCAMP_LEDGER_URL", "")
        return given or f"sqlite:///{_state_folder() / 'ledger.sqlite'}"

    @default("image")
    def _default_image(self) -> str:
        return os.environ.get("GPUCAMP_IMAGE", "")

    @default("practice_devices")
    def _default_practice_devices(self) -> int:
        return int(os.environ.get("GPUCAMP_PRACTICE_DEVICES", "2"))

    @default("name_prefix")
    def _default_name_prefix(self) -> str:
        return os.environ.get("GPUCAMP_PREFIX") or PREFIX

    @default("cookie_secret_file")
    def _default_cookie_secret_file(self) -> str:
        return str(_state_folder() / "service_cookie_secret")

    @default("log_level")
    def _default_log_level(self) -> int:
        return logging.INFO

    # as JupyterHub's, into whose log it goes
    _log_formatter_cls = LogFormatter  # type: ignore[assignment]  # traitlets names its own

    @default("log_datefmt")
    def _default_log_datefmt(self) -> str:
        return "%Y-%m-%d %H:%M:%S"

    @default("log_format")
    def _default_log_format(self) -> str:
        return (
            "%(color)s[%(levelname)1.1s %(asctime)s.%(msecs).03d %(name)s]%(end_color)s %(message)s"
        )

    @validate("service_url")
    def _valid_service_url(self, proposal: Any) -> str:
        url = urlparse(proposal.value)
        if url.scheme != "http" or not url.hostname or not url.port:
            raise ValueError(f"service_url must be http://ADDRESS:PORT, not {proposal.value!r}")
        return str(proposal.value)

    @catch_config_error
    def initialize(self, argv: Sequence[str] | None = None) -> None:
        """Read the command line and the configuration file."""
        self.parse_command_line(list(argv) if argv is not None else None)
        if self.config_file:
            self.load_config_file(
                os.path.basename(self.config_file), os.path.dirname(self.config_file) or "."
            )
            # what was said on the command line wins
            self.update_config(self.cli_config)
        # one log: also what the modules of gpucamp and tornado say
        for name in ("hub_ext", "gpucamp", "tornado"):
            logger = logging.getLogger(name)
            logger.handlers = list(self.log.handlers)
            logger.setLevel(self.log.level)
            logger.propagate = False
        # pages ask once a second how a reset goes: their successes are no news
        logging.getLogger("tornado.access").setLevel(max(self.log.level, logging.WARNING))

    def start(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        if not self.service_url:
            sys.exit(
                "JUPYTERHUB_SERVICE_URL is not set. JupyterHub starts this service; see "
                "jupyterhub_config.py, or pass --GpucampService.service_url=http://127.0.0.1:8083"
            )
        asyncio.run(self.serve())

    async def serve(self) -> None:
        """Start all parts, wait for a signal, stop all parts."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stop.set)
        watching = asyncio.create_task(end_with_hub(os.getppid(), stop))
        # the port first: whoever has it is the one service that works
        sockets = await listen(self.service_url, stop)
        ledger = Ledger(self.ledger_url, actor="service")
        opening = asyncio.create_task(open_ledger(ledger))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({opening, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            opening.cancel()
            watching.cancel()
            for each in sockets:
                each.close()
            return
        hub_id = opening.result()
        hub_auth = HubOAuth(parent=self, cache_max_age=self.auth_cache_seconds)
        engine_client = EngineClient(threads=4)
        service = self._make_service(ledger, hub_auth, engine_client, hub_id)
        secret = await asyncio.to_thread(cookie_secret, self.cookie_secret_file)
        server = make_http_server(
            make_web_application(service, hub_auth, cookie_secret=secret), service.prefix
        )
        rounds: list[asyncio.Task[None]] = []
        try:
            await service.resets.resume()
            await service.images.pulls.resume()
            await service.group_operations.resume()
            service.monitor.start()
            rounds = self._start_rounds(service)
            pass_over_what_is_there()
            server.add_sockets(sockets)
            self.log.info("gpucamp %s at %s%s", __version__, self.service_url, service.prefix)
            await stopped
        finally:
            watching.cancel()
            server.stop()
            await service.events.close()
            for task in rounds:
                task.cancel()
            await asyncio.gather(*rounds, return_exceptions=True)
            await service.examinations.close()
            await service.kept_files.close()
            await service.terms.close()
            await service.revival.close()
            await service.monitor.close()
            if self._watch:
                await asyncio.to_thread(self._watch.close)
            await service.images.pulls.close()
            await service.group_operations.close()
            await service.resets.close()
            await service.hub.close()
            await engine_client.close()
            ledger.close()

    def _start_rounds(self, service: Service) -> list[asyncio.Task[None]]:
        """What repeats, beside the monitor's loops."""

        async def prune() -> None:
            before = service.now() - timedelta(days=self.history_days)
            await asyncio.to_thread(service.ledger.prune, before)
            await asyncio.to_thread(service.ledger.forget_old_requests, service.now())

        async def forget_servers() -> None:
            await forget_lost_servers(service.ledger, service.hub)
            await forget_lost_hands(service.ledger, service.hub)

        return [
            asyncio.create_task(watch_loop()),
            asyncio.create_task(every(self.terms_interval, service.terms.round)),
            asyncio.create_task(every(self.revival_interval, service.revival.round)),
            asyncio.create_task(every(self.space_interval, service.space.round)),
            asyncio.create_task(every(PRUNE_SECONDS, prune)),
            asyncio.create_task(every(PRUNE_SECONDS, forget_servers)),
        ]

    def _make_service(
        self, ledger: Ledger, hub_auth: HubOAuth, engine_client: EngineClient, hub_id: str
    ) -> Service:
        engine = HubContainers(engine_client, lambda: hub_id, self.name_prefix)
        hub = HubClient(hub_auth.api_url, hub_auth.api_token)
        if self.inventory_enabled:
            self._watch = DeviceWatch(
                discover(self.practice_devices, memory=ledger),
                ledger,
                quarantine=timedelta(seconds=self.xid_quarantine),
                leave=lambda: out_of_use(ledger.devices()),
            )
        watch = self._watch
        monitor = Monitor(
            ledger,
            engine,
            watch.scan if watch else None,
            xid_trouble=lambda: watch.trouble if watch else "",
            scan_interval=self.scan_interval,
            scan_timeout=self.scan_timeout,
            reconcile_interval=self.reconcile_interval,
            shown=PracticeUse(ledger).shown,
        )
        resets = ResetWorkflow(
            ledger, hub, engine, limits=Limits(stop=self.stop_timeout, start=self.start_timeout)
        )
        return Service(
            ledger=ledger,
            hub=hub,
            resets=resets,
            group_operations=GroupOperations(
                ledger,
                resets,
                GroupServers(
                    ledger,
                    hub,
                    limits=GroupLimits(stop=self.stop_timeout, start=self.start_timeout),
                ),
                at_once=self.group_operations_at_once,
            ),
            monitor=monitor,
            events=EventFeed(ledger, hub),
            terms=TermsLoop(ledger, hub, engine, monitor.seen),
            revival=Revival(ledger, hub),
            space=SpaceWatch(ledger, hub, engine),
            kept_files=KeptFiles(ledger, engine, EngineExec(), self.image),
            images=Images(
                ledger,
                engine,
                ImagePulls(ledger, EnginePull()),
                self.image,
                self.image_repositories,
            ),
            examinations=Examinations(ledger, engine, EngineExec(), prefix=hub_auth.base_url),
            roster=Roster(hub),
            prefix=hub_auth.base_url,
            # with subdomains the hub has a host of its own
            hub_prefix=hub_auth.hub_host + hub_auth.hub_prefix,
            image=self.image,
            host=HostLook(engine_client),
            recent_xids=lambda: watch.recent if watch else (),
            settings=settings_of(
                GpucampService,
                self.config,
                command_line=self.cli_config,
                files=[Path(self.config_file)] if self.config_file else (),
                effective=lambda name: getattr(self, name),
            ),
        )


def _state_folder() -> Path:
    return Path(os.environ.get("GPUCAMP_STATE_DIR") or ".gpucamp").absolute() / "hub"
