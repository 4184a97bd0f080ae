"""The real web application on loopback, with a hub of a few lines behind it.

One HTTP server plays hub, proxy and service, so cookies, OAuth and redirects work as behind
JupyterHub's proxy. Its event loop runs in a thread, so that blocking clients can be used.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import requests
from jupyterhub.services.auth import HubOAuth
from local_reader import LocalReader
from openapi_contract import check_answer
from service_world import USUAL_IMAGE, FakeEngine, FakeHub, FakeRunner, World
from tornado.netutil import bind_sockets
from tornado.web import HTTPError, RequestHandler

from hub_ext import scopes
from hub_ext.errors import GpucampError, NotFound
from hub_ext.inventory import DeviceWatch
from hub_ext.service.event_feed import EventFeed
from hub_ext.service.examinations import Examinations
from hub_ext.service.group_operations import GroupOperations
from hub_ext.service.group_servers import GroupServers
from hub_ext.service.group_servers import Limits as GroupLimits
from hub_ext.service.hub_api import HubClient, HubGroup
from hub_ext.service.image_pulls import ImagePulls
from hub_ext.service.images import Images
from hub_ext.service.kept_files import KeptFiles
from hub_ext.service.monitor import Monitor
from hub_ext.service.parts import Service, make_http_server, make_web_application
from hub_ext.service.reset import Limits, ResetWorkflow
from hub_ext.service.revival import Revival
from hub_ext.service.roster import Roster
from hub_ext.service.space_watch import SpaceWatch
from hub_ext.service.terms_loop import TermsLoop

PREFIX = "/services/gpucamp/"
SERVICE_TOKEN = "service-token"
ADA = "ada-token"


def expand(names: Iterable[str], user: str, server: str = "") -> list[str]:
    """What JupyterHub makes of `!user` and `!server`."""
    return [
        name.replace("!user", f"!user={user}")
        if name.endswith("!user")
        else name + f"={user}/{server}"
        if name.endswith("!server")
        else name
        for name in names
    ]


def person(name: str, *more: str) -> dict[str, Any]:
    return {
        "kind": "user",
        "name": name,
        "admin": False,
        "groups": [],
        "scopes": [*expand((*scopes.USER_SCOPES, f"{scopes.ACCESS_SERVERS}!user"), name), *more],
    }


class Tokens(dict[str, dict[str, Any]]):
    """token -> JupyterHub's user model."""


class HubHandler(RequestHandler):
    """JupyterHub's REST API, as far as it is used."""

    def initialize(self, server: RunningService) -> None:
        self.server = server

    def caller(self) -> dict[str, Any]:
        token = self.request.headers.get("Authorization", "").removeprefix("token ")
        if token == SERVICE_TOKEN:
            return {"kind": "service", "name": "gpucamp", "scopes": list(scopes.SERVICE_SCOPES)}
        if token not in self.server.tokens:
            raise HTTPError(403)
        return self.server.tokens[token]

    def require_service(self) -> None:
        if self.server.hub_down:
            raise HTTPError(503)
        if self.caller()["name"] != "gpucamp":
            raise HTTPError(403)

    def reply(self, value: Any, status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(value))


class RootHandler(HubHandler):
    def get(self) -> None:
        if self.server.hub_down:
            raise HTTPError(503)
        self.reply({"version": "6.1.1"})


class WhoHandler(HubHandler):
    def get(self) -> None:
        if self.server.hub_down:
            raise HTTPError(503)
        self.reply(self.caller())


class UserHandler(HubHandler):
    async def get(self, user: str) -> None:
        self.require_service()
        try:
            found = await self.server.hub.user(user)
        except NotFound as error:
            raise HTTPError(404) from error
        self.reply({"kind": "user", "name": found.name, "groups": list(found.groups)})


class GroupsHandler(HubHandler):
    async def get(self) -> None:
        self.require_service()
        groups = await self.server.hub.groups()
        start, size = int(self.get_argument("offset", "0")), int(self.get_argument("limit", "50"))
        self.reply([group_model(group) for group in groups[start : start + size]])


class GroupHandler(HubHandler):
    async def get(self, name: str) -> None:
        self.require_service()
        for group in await self.server.hub.groups():
            if group.name == name:
                self.reply(group_model(group))
                return
        raise HTTPError(404)


def group_model(group: HubGroup) -> dict[str, Any]:
    return {"kind": "group", "name": group.name, "users": list(group.users), "properties": {}}


class UserServerHandler(HubHandler):
    async def get(self, user: str, server: str = "") -> None:
        self.require_service()
        try:
            found = await self.server.hub.server(user, server)
        except NotFound as error:
            raise HTTPError(404) from error
        if found is None:
            raise HTTPError(404)
        self.reply(
            {
                "name": server,
                "ready": found.ready,
                "pending": found.pending or None,
                "stopped": found.stopped,
                "url": found.url,
                "full_url": None,
                "user_options": found.user_options,
            }
        )

    async def delete(self, user: str, server: str = "") -> None:
        self.require_service()
        await self.server.hub.stop(user, server)
        self.set_status(204)

    async def post(self, user: str, server: str = "") -> None:
        self.require_service()
        options = json.loads(self.request.body)["user_options"]
        try:
            await self.server.hub.start(user, server, options)
        except GpucampError as error:
            self.reply({"status": 400, "message": str(error)}, 400)
            return
        self.set_status(201)


class AuthorizeHandler(HubHandler):
    """Signs in whoever `visitor` says, without asking."""

    def get(self) -> None:
        uri, state = self.get_argument("redirect_uri"), self.get_argument("state")
        self.redirect(f"{uri}?code=one-time&state={state}")


class TokenHandler(HubHandler):
    def post(self) -> None:
        token = secrets.token_hex(8)
        self.server.tokens[token] = self.server.visitor
        self.reply({"access_token": token, "token_type": "Bearer"})

    def check_xsrf_cookie(self) -> None:
        pass


class PlainPage(HubHandler):
    """Hub home and users' servers."""

    def get(self) -> None:
        self.finish(f"<!doctype html><title>fake</title><h1>{self.request.path}</h1>")


class RunningService:
    """What a test works with; `url` ends with the service's prefix."""

    def __init__(
        self,
        world: World,
        hub: FakeHub,
        engine: FakeEngine,
        limits: Limits,
        watch: DeviceWatch | None = None,
        runner: FakeRunner | None = None,
    ) -> None:
        self.world, self.hub, self.engine, self.limits = world, hub, engine, limits
        self.runner = runner or FakeRunner()
        self.watch = watch
        self.tokens = Tokens(
            {
                ADA: person("ada"),
                "bob-token": person("bob"),
                "stranger-token": {"kind": "user", "name": "eve", "scopes": []},
                "instructor-token": person("kim", *scopes.INSTRUCTOR_SCOPES),
                "admin-token": person("root", *scopes.ADMIN_SCOPES, scopes.ACCESS_SERVERS),
                "ada-server-token": {
                    "kind": "user",
                    "name": "ada",
                    "scopes": expand(scopes.SERVER_TOKEN_SCOPES, "ada"),
                },
            }
        )
        self.visitor = self.tokens[ADA]
        self.hub_down = False
        self.port = 0
        self.repository = "registry.example/camp"  # from which images may be pulled

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return self.origin + PREFIX

    def __call__(
        self, method: str, path: str, token: str | None = ADA, **kwargs: Any
    ) -> requests.Response:
        """A request with a token."""
        headers = kwargs.pop("headers", {})
        if token:
            headers["Authorization"] = f"token {token}"
        kwargs.setdefault("allow_redirects", False)
        answer = requests.request(method, self.url + path, headers=headers, timeout=10, **kwargs)
        if not kwargs.get("stream"):
            check_answer(method, path, answer)
        return answer

    async def _serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        self.stop, self.loop = stop, asyncio.get_running_loop()
        sockets = bind_sockets(0, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        client = HubClient(f"{self.origin}/hub/api", SERVICE_TOKEN)
        auth = HubOAuth(
            api_url=f"{self.origin}/hub/api",
            api_token=SERVICE_TOKEN,
            base_url=PREFIX,
            hub_prefix="/hub/",
            oauth_client_id="service-gpucamp",
            access_scopes={scopes.ACCESS_SERVICE},
            cache_max_age=1,
        )
        watch = self.watch
        monitor = Monitor(
            self.world.ledger,
            self.engine,
            watch.scan if watch else None,
            scan_interval=0.5,
            reconcile_interval=0.5,
        )
        resets = ResetWorkflow(self.world.ledger, client, self.engine, limits=self.limits)
        self.service = Service(
            ledger=self.world.ledger,
            hub=client,
            resets=resets,
            group_operations=GroupOperations(
                self.world.ledger,
                resets,
                GroupServers(self.world.ledger, client, limits=GroupLimits(poll=0.02, retry=0.05)),
                at_once=2,
                poll=0.02,
                retry=0.05,
            ),
            monitor=monitor,
            events=EventFeed(self.world.ledger, client, poll=0.05),
            terms=TermsLoop(self.world.ledger, client, self.engine, monitor.seen),
            revival=Revival(self.world.ledger, client),
            space=SpaceWatch(self.world.ledger, client, self.engine),
            kept_files=KeptFiles(self.world.ledger, self.engine, LocalReader(), "image"),
            images=Images(
                self.world.ledger,
                self.engine,
                ImagePulls(self.world.ledger, self.engine, retry=0.05),
                USUAL_IMAGE.id,
                [self.repository],
            ),
            roster=Roster(client),
            examinations=Examinations(self.world.ledger, self.engine, self.runner, prefix=PREFIX),
            prefix=PREFIX,
            hub_prefix="/hub/",
            image=USUAL_IMAGE.id,
            recent_xids=lambda: watch.recent if watch else (),
        )
        application = make_web_application(self.service, auth, cookie_secret=b"x" * 32)
        me = {"server": self}
        application.add_handlers(
            ".*",
            [
                (r"/hub/api/", RootHandler, me),
                (r"/hub/api/user", WhoHandler, me),
                (r"/hub/api/groups", GroupsHandler, me),
                (r"/hub/api/groups/([^/]+)", GroupHandler, me),
                (r"/hub/api/users/([^/]+)", UserHandler, me),
                (r"/hub/api/users/([^/]+)/server", UserServerHandler, me),
                (r"/hub/api/users/([^/]+)/servers/([^/]+)", UserServerHandler, me),
                (r"/hub/api/oauth2/authorize", AuthorizeHandler, me),
                (r"/hub/api/oauth2/token", TokenHandler, me),
                (r"/(?:hub|user)/.*", PlainPage, me),
            ],
        )
        server = make_http_server(application, PREFIX)
        server.add_sockets(sockets)
        self.application = application
        await self.service.resets.resume()
        await self.service.images.pulls.resume()
        await self.service.group_operations.resume()
        self.service.monitor.start()
        ready.set()
        await stop.wait()
        server.stop()
        await self.service.events.close()
        await self.service.monitor.close()
        await self.service.examinations.close()
        await self.service.kept_files.close()
        await self.service.images.pulls.close()
        await self.service.group_operations.close()
        await self.service.resets.close()
        await client.close()
        await server.close_all_connections()


@contextmanager
def running_service(
    world: World,
    *,
    hub: FakeHub | None = None,
    engine: FakeEngine | None = None,
    limits: Limits | None = None,
    watch: DeviceWatch | None = None,
    runner: FakeRunner | None = None,
) -> Iterator[RunningService]:
    """Serve until the block ends; a `watch` takes the inventory twice a second."""
    running = RunningService(
        world,
        hub or FakeHub(world),
        engine or FakeEngine(world),
        limits or Limits(poll=0.02, tidy=0),
        watch,
        runner,
    )
    ready = threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        async def main() -> None:
            await running._serve(ready, asyncio.Event())

        try:
            asyncio.run(main())
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    ready.wait(20)
    if failed:
        raise failed[0]
    try:
        yield running
    finally:
        running.loop.call_soon_threadsafe(running.stop.set)
        thread.join(10)
        assert not thread.is_alive(), "the service did not stop"
        if failed:
            raise failed[0]
