"""The client of JupyterHub's API against hubs named after their failures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from hub_ext.errors import HubRefused, HubUnavailable, NotFound
from hub_ext.service.hub_api import HubClient, HubServer

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Hub:
    """Answers every request with `answer`, and counts them."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[tuple[str, str, str]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.raw_path, await request.text()))
        return await self.answer(request)


@pytest.fixture
async def connect():
    closers = []

    async def start(answer: Answer, **kwargs) -> tuple[HubClient, Hub]:
        hub = Hub(answer)
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", hub.handle)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        client = HubClient(f"http://127.0.0.1:{port}/hub/api/", "secret", **kwargs)
        closers.extend([client.close, runner.cleanup])
        return client, hub

    yield start
    for close in closers:
        await close()


def replies(*answers: tuple[int, object]) -> Answer:
    """These answers in turn; the last one for ever."""
    left = list(answers)

    async def answer(_request: web.Request) -> web.StreamResponse:
        status, body = left.pop(0) if len(left) > 1 else left[0]
        return web.Response(status=status, text=body if isinstance(body, str) else json.dumps(body))

    return answer


RUNNING = {
    "ready": True,
    "pending": None,
    "stopped": False,
    "url": "/user/ada/",
    "user_options": {"gpus": 1},
}


async def test_a_servers_model_is_read(connect):
    client, hub = await connect(replies((200, RUNNING)))
    found = await client.server("ada", "")
    assert found == HubServer(False, True, "", "/user/ada/", {"gpus": 1})
    assert hub.requests == [("GET", "/hub/api/users/ada/server", "")]


async def test_names_cannot_leave_their_place_in_the_path(connect):
    client, hub = await connect(replies((200, RUNNING)))
    await client.server("../admin?x#y", "a/b")
    assert hub.requests[0][1] == "/hub/api/users/..%2Fadmin%3Fx%23y/servers/a%2Fb"


async def test_a_server_that_was_never_made_is_none_and_an_unknown_user_is_not_found(connect):
    client, _ = await connect(replies((404, {}), (200, {"name": "ada"})))
    assert await client.server("ada", "x") is None
    client, _ = await connect(replies((404, {})))
    with pytest.raises(NotFound):
        await client.server("nobody", "")


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_question_is_asked_again_after_a_passing_answer(connect, status):
    client, hub = await connect(replies((status, {}), (200, RUNNING)))
    assert await client.server("ada", "") is not None
    assert len(hub.requests) == 2


async def test_a_hub_that_only_answers_503_is_unavailable(connect):
    client, hub = await connect(replies((503, {"message": "starting"})))
    with pytest.raises(HubUnavailable, match="starting"):
        await client.server("ada", "")
    assert len(hub.requests) == 3


async def test_a_hub_that_hangs_is_given_up_in_time(connect):
    async def hang(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    client, _ = await connect(hang, question_seconds=0.1, command_seconds=0.1, attempts=2)
    async with asyncio.timeout(3):
        with pytest.raises(HubUnavailable):
            await client.server("ada", "")
        with pytest.raises(HubUnavailable):
            await client.stop("ada", "")


async def test_a_hub_that_is_not_there_is_unavailable():
    client = HubClient("http://127.0.0.1:9/hub/api", "secret", attempts=1)
    with pytest.raises(HubUnavailable):
        await client.version()
    await client.close()


async def test_a_start_whose_reply_is_cut_off_is_sent_once(connect):
    """Its effect is unknown: the caller must look before it sends another."""

    async def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    client, hub = await connect(cut)
    with pytest.raises(HubUnavailable):
        await client.start("ada", "", {})
    assert [method for method, _path, _body in hub.requests] == ["POST"]


async def test_a_start_sends_the_options_as_jupyterhub_6_wants_them(connect):
    client, hub = await connect(replies((202, "")))
    await client.start("ada", "second", {"gpus": 1})
    method, path, body = hub.requests[0]
    assert (method, path) == ("POST", "/hub/api/users/ada/servers/second")
    assert json.loads(body) == {"user_options": {"gpus": 1}}


@pytest.mark.parametrize("status", [400, 500, 503])
async def test_a_spawn_that_failed_is_a_no_with_its_reason(connect, status):
    client, _ = await connect(replies((status, {"message": "No GPU became free"})))
    with pytest.raises(HubRefused, match="No GPU became free"):
        await client.start("ada", "", {})


async def test_too_many_pending_spawns_is_no_final_word(connect):
    client, _ = await connect(replies((429, {"message": "Too many users"})))
    with pytest.raises(HubUnavailable):
        await client.start("ada", "", {})


@pytest.mark.parametrize("status", [202, 204, 404])
async def test_a_stop_of_a_stopped_server_is_well(connect, status):
    client, _ = await connect(replies((status, "")))
    await client.stop("ada", "")


async def test_a_service_without_its_role_is_told_so(connect):
    client, _ = await connect(replies((403, {"message": "Forbidden"})))
    with pytest.raises(HubRefused, match="gpucamp-service"):
        await client.server("ada", "")


@pytest.mark.parametrize("body", ["<html>", "[]", "null", ""])
async def test_an_answer_that_is_no_object_is_not_believed(connect, body):
    client, _ = await connect(replies((200, body)))
    with pytest.raises(HubUnavailable):
        await client.server("ada", "")


@pytest.mark.parametrize("name", [".", ".."])
async def test_a_name_that_leads_elsewhere_is_not_asked_for(connect, name):
    client, hub = await connect(replies((200, {"name": "root", "users": ["ada"]})))
    for ask in (
        lambda: client.user(name),
        lambda: client.group(name),
        lambda: client.server(name, ""),
        lambda: client.server("ada", name),
        lambda: client.stop(name, ""),
        lambda: client.start(name, "", {}),
    ):
        with pytest.raises(NotFound):
            await ask()
    assert hub.requests == []
    assert (await client.user("...")).name == "root"
