"""The extension as a whole: what it registers, who may use it, its errors, its streams, its
status.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_server.auth.authorizer import Authorizer
from jupyter_server.auth.decorator import authorized
from tornado import web

import server_ext
from server_ext import errors
from server_ext.app import GpucampApp
from server_ext.handlers import GpucampHandler

VERBS = ("get", "head", "post", "put", "patch", "delete")


def our_handlers(jupyter: Any) -> Iterator[tuple[str, type]]:
    def walk(router: Any) -> Iterator[tuple[str, type]]:
        for rule in router.rules:
            if hasattr(rule.target, "rules"):
                yield from walk(rule.target)
            elif isinstance(rule.target, type):
                pattern = getattr(rule.matcher, "regex", None)
                if pattern is not None:
                    yield pattern.pattern, rule.target

    for pattern, handler in walk(jupyter.app.web_app.default_router):
        if handler.__module__.startswith("server_ext"):
            yield pattern, handler


def own_verbs(handler: type) -> list[str]:
    base = web.RequestHandler
    return [verb for verb in VERBS if getattr(handler, verb) is not getattr(base, verb)]


def example_path(pattern: str) -> str:
    path = pattern.rstrip("$").replace("/user/ada/", "", 1)
    path = path.replace(r"(GC\d{3})", "GC101")
    while "(" in path:
        before, _, rest = path.partition("(")
        path = before + "x1" + rest.partition(")")[2]
    return path.strip("^").replace("\\", "").rstrip("?+*")


def test_the_extension_point_is_the_app() -> None:
    assert server_ext._jupyter_server_extension_points() == [
        {"module": "server_ext", "app": GpucampApp}
    ]
    config = json.loads(
        (Path(server_ext.__file__).parent / "jupyter_server_config.json").read_text()
    )
    assert config["ServerApp"]["jpserver_extensions"] == {"server_ext": True}


async def test_every_part_is_registered(jupyter: Any) -> None:
    patterns = {pattern for pattern, _ in our_handlers(jupyter)}
    for part in ("status", "doctor/examinations", "doctor/report", "ddp/", "reset"):
        assert any(f"/gpucamp/{part}" in pattern for pattern in patterns), (part, patterns)


async def test_every_verb_is_authenticated_and_authorized(jupyter: Any) -> None:
    """By its code: both decorators leave their mark on the function; by asking: see below."""
    seen = 0
    for pattern, handler in our_handlers(jupyter):
        assert issubclass(handler, GpucampHandler), pattern
        assert handler.auth_resource == "gpucamp"
        for verb in own_verbs(handler):
            method = getattr(handler, verb)
            names, function = set(), method
            while function is not None:
                names.add(function.__code__.co_qualname.split(".")[0])
                function = getattr(function, "__wrapped__", None)
            assert {"authenticated", "authorized"} <= names, (pattern, verb, names)
            seen += 1
    assert seen >= 10


async def test_without_a_token_every_verb_answers_403(jupyter: Any) -> None:
    for pattern, handler in our_handlers(jupyter):
        for verb in own_verbs(handler):
            response = await jupyter.fetch(
                example_path(pattern), method=verb.upper(), token=None, body=_body(verb)
            )
            assert response.code == 403, (pattern, verb, response.code)


def _body(verb: str) -> str | None:
    return "{}" if verb in {"post", "put", "patch"} else None


class DeniesGpucamp(Authorizer):
    """Lets everyone do everything except use gpucamp."""

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        return resource != "gpucamp"


class TestUnauthorized:
    @pytest.fixture
    def jupyter_config(self) -> dict[str, Any]:
        return {"ServerApp": {"authorizer_class": DeniesGpucamp}}

    async def test_every_verb_answers_403(self, jupyter: Any) -> None:
        for pattern, handler in our_handlers(jupyter):
            for verb in own_verbs(handler):
                response = await jupyter.fetch(
                    example_path(pattern), method=verb.upper(), body=_body(verb)
                )
                assert response.code == 403, (pattern, verb, response.code)
        assert (await jupyter.fetch("api/status")).code == 200


async def test_a_page_of_another_site_cannot_use_the_cookie(jupyter: Any) -> None:
    """XSRF: a browser that is signed in by its cookie, and no XSRF token."""
    page = await jupyter.fetch("api/me")
    assert page.code == 200
    login = await jupyter.fetch("api/me?token=the-token-of-the-tests", token=None)
    cookies = "; ".join(item.partition(";")[0] for item in login.headers.get_list("Set-Cookie"))
    assert "username-" in cookies
    without = await jupyter.fetch(
        "gpucamp/doctor/examinations",
        method="POST",
        body={},
        token=None,
        headers={"Cookie": cookies},
    )
    assert without.code == 403
    assert b"_xsrf" in without.body


async def test_errors_are_json_with_status_and_message(jupyter: Any) -> None:
    for body, message in (
        (b"{", "The request is not valid JSON."),
        (b"[" * 100000, "The request is not valid JSON."),
        (b"[]", "The request must be a JSON object."),
        (b"\xff\xfe", "The request is not valid JSON."),
    ):
        response = await jupyter.fetch("gpucamp/doctor/examinations", method="POST", body=body)
        assert response.code == 400
        assert json.loads(response.body) == {"status": 400, "message": message}


# -- handlers that the tests add: what the base promises to every part


class Raises(GpucampHandler):
    kinds = {
        "bad": errors.BadRequest("no {what}", what="{0} %s"),
        "conflict": errors.Conflict("busy"),
        "missing": errors.NotFound("gone"),
        "service": errors.ServiceUnavailable("away"),
        "forbidden": errors.Forbidden("not yours"),
        "bug": RuntimeError("/secret/path"),
        "http": web.HTTPError(418, "a %s", "teapot"),
    }

    @web.authenticated
    @authorized
    async def get(self, kind: str) -> None:
        raise self.kinds[kind]


class Streams(GpucampHandler):
    state: dict[str, Any] = {}

    @web.authenticated
    @authorized
    async def get(self, kind: str) -> None:
        await self.stream(getattr(self, kind)())

    async def few(self) -> AsyncGenerator[dict[str, Any], None]:
        yield {"n": 1, "text": "ä\n"}
        yield {"n": 2}

    async def early(self) -> AsyncGenerator[dict[str, Any], None]:
        raise errors.Conflict("busy")
        yield {}

    async def late(self) -> AsyncGenerator[dict[str, Any], None]:
        yield {"n": 1}
        raise errors.NotFound("gone")

    async def endless(self) -> AsyncGenerator[dict[str, Any], None]:
        self.state.clear()
        self.state["sent"] = 0
        try:
            while True:
                yield {"text": "x" * 65536}
                self.state["sent"] += 1
        finally:
            # a part that has to end a process here must get the time
            await asyncio.sleep(0.05)
            self.state["closed"] = True

    async def silent(self) -> AsyncGenerator[dict[str, Any], None]:
        self.state.clear()
        yield {"n": 1}
        try:
            await asyncio.sleep(60)
        finally:
            self.state["closed"] = True


@pytest.fixture
def extra(jupyter: Any) -> Any:
    jupyter.app.web_app.add_handlers(
        ".*$",
        [
            (r"/user/ada/test/raises/(\w+)", Raises, {"name": "gpucamp"}),
            (r"/user/ada/test/streams/(\w+)", Streams, {"name": "gpucamp"}),
        ],
    )
    return jupyter


@pytest.mark.parametrize(
    ("kind", "status", "message"),
    [
        ("bad", 400, "no {0} %s"),
        ("forbidden", 403, "not yours"),
        ("missing", 404, "gone"),
        ("conflict", 409, "busy"),
        ("service", 503, "away"),
        ("http", 418, "a teapot"),
        ("bug", 500, "Something went wrong in the server; its log has the details."),
    ],
)
async def test_each_error_has_its_status(extra: Any, kind: str, status: int, message: str) -> None:
    response = await extra.fetch(f"test/raises/{kind}")
    assert response.code == status
    assert json.loads(response.body) == {"status": status, "message": message}
    assert response.headers["Content-Type"] == "application/json"


async def test_a_stream_is_lines_of_json(extra: Any) -> None:
    response = await extra.fetch("test/streams/few")
    assert response.headers["Content-Type"] == "application/x-ndjson; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    lines = response.body.decode().splitlines()
    assert [json.loads(line) for line in lines] == [{"n": 1, "text": "ä\n"}, {"n": 2}]


async def test_an_error_before_the_first_event_is_an_ordinary_error(extra: Any) -> None:
    response = await extra.fetch("test/streams/early")
    assert response.code == 409
    assert json.loads(response.body) == {"status": 409, "message": "busy"}


async def test_an_error_after_it_is_the_last_line(extra: Any) -> None:
    response = await extra.fetch("test/streams/late")
    assert response.code == 200
    lines = [json.loads(line) for line in response.body.splitlines()]
    assert lines == [{"n": 1}, {"event": "error", "status": 404, "message": "gone"}]


async def _open(jupyter: Any, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", jupyter.port, limit=2**16)
    request = (
        f"GET /user/ada/{path} HTTP/1.1\r\nHost: 127.0.0.1:{jupyter.port}\r\n"
        "Authorization: token the-token-of-the-tests\r\n\r\n"
    )
    writer.write(request.encode())
    await writer.drain()
    return reader, writer


async def _until(condition: Any, seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is in another task
            await asyncio.sleep(0.01)


async def test_a_slow_reader_stops_the_source(extra: Any) -> None:
    """Nobody reads: the socket's buffers fill, then the generator waits, however long."""
    _reader, writer = await _open(extra, "test/streams/endless")
    await _until(lambda: Streams.state.get("sent", 0) > 0)
    previous = -1
    async with asyncio.timeout(20):
        while Streams.state["sent"] != previous:
            previous = Streams.state["sent"]
            await asyncio.sleep(0.3)
    assert Streams.state["sent"] * 65536 < 64 * 2**20  # buffers of the sockets, no more
    assert "closed" not in Streams.state
    writer.transport.abort()
    await _until(lambda: Streams.state.get("closed"))


async def test_a_reader_who_leaves_closes_the_source(extra: Any) -> None:
    reader, writer = await _open(extra, "test/streams/silent")
    async with asyncio.timeout(5):
        await reader.readuntil(b'{"n": 1}\n')
    assert "closed" not in Streams.state
    writer.close()
    await _until(lambda: Streams.state.get("closed"))


async def test_a_silent_stream_is_kept_alive(extra: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("server_ext.handlers.KEEPALIVE_SECONDS", 0.05)
    reader, writer = await _open(extra, "test/streams/silent")
    async with asyncio.timeout(5):
        await reader.readuntil(b'{"n": 1}\n')
        await reader.readuntil(b"1\r\n\n\r\n")  # a chunk of one blank line
    writer.close()
    await _until(lambda: Streams.state.get("closed"))


# -- status


async def test_status_without_nvml(jupyter: Any, monkeypatch: Any) -> None:
    for name, value in {
        "JUPYTERHUB_USER": "ada",
        "GPUCAMP_GENERATION": "3",
        "GPUCAMP_SIMULATED": "0",
        "GPUCAMP_IMAGE": "sha256:abc",
        "GPUCAMP_SERVICE_URL": "http://10.0.0.1:8083/services/gpucamp/",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    status = await jupyter.json("gpucamp/status")
    assert {key: status[key] for key in ("user", "server", "generation", "image")} == {
        "user": "ada",
        "server": "",
        "generation": 3,
        "image": "sha256:abc",
    }
    assert status["simulated"] is False
    assert status["service"] is True
    assert status["cpus"] > 0
    assert status["memory_bytes"] > 2**20
    assert status["shm_bytes"] >= status["shm_free_bytes"] > 0


async def test_polling_the_status_is_no_activity(jupyter: Any) -> None:
    def last() -> Any:
        return jupyter.app.web_app.settings.get("api_last_activity")

    await jupyter.json("gpucamp/status")
    assert last() is None
    await jupyter.fetch("gpucamp/doctor/examinations", method="POST", body="[")
    assert last() is not None


async def test_nvml_that_hangs_costs_the_time_limit_once(
    jupyter: Any, monkeypatch: Any, tmp_path: Path
) -> None:
    calls = tmp_path / "calls"
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\necho $$ >> {calls}\nexec sleep 600\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr("server_ext.status.sys.executable", str(fake))
    monkeypatch.setattr("server_ext.status.NVML_SECONDS", 0.3)
    first, second = await asyncio.gather(
        jupyter.json("gpucamp/status"), jupyter.json("gpucamp/status")
    )
    third = await jupyter.json("gpucamp/status")
    assert first["devices"] == second["devices"] == third["devices"] == []
    (pid,) = calls.read_text().split()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
