"""Pulls that can be cut at any moment, against an Engine that tells, fails and stalls as told."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from hub_ext.engine_pull import LONGEST_LINE, EnginePull
from hub_ext.errors import EngineRefused, EngineUnavailable, ImageMissing
from hub_ext.pulling import PullProgress

DIGEST = "sha256:" + "a" * 64
IMAGE = f"registry.example:5000/camp/torch@{DIGEST}"
LAYER = {"id": "l1", "status": "Downloading", "progressDetail": {"current": 3, "total": 9}}
DONE = {"id": "l1", "status": "Pull complete"}


def line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\r\n"


class ScriptedEngine:
    """`said` are pieces of the answer, None is a pause without end, "cut" cuts the connection."""

    def __init__(self) -> None:
        self.said: list[bytes | str | None] = [line(LAYER), line(DONE)]
        self.status = 200
        self.asked: list[web.Request] = []
        self.hung_up = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.status != 200:
            return web.json_response({"message": str(self.said[0])}, status=self.status)
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            for piece in self.said:
                if piece is None:
                    await asyncio.Event().wait()
                elif isinstance(piece, bytes):
                    await response.write(piece)
                else:
                    assert request.transport is not None
                    request.transport.abort()
        except (asyncio.CancelledError, ConnectionError):
            self.hung_up.set()
            raise
        return response


@pytest.fixture
async def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ScriptedEngine]:
    made = ScriptedEngine()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "engine.sock")).start()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    yield made
    await runner.cleanup()


async def pull(reports: list[PullProgress] | None = None) -> None:
    told = [] if reports is None else reports
    async with asyncio.timeout(60):
        await EnginePull().pull(IMAGE, told.append)


async def test_what_the_engine_tells_is_reported(engine: ScriptedEngine) -> None:
    whole = line(LAYER) + line({"status": "Digest: x"}) + line(DONE).strip()
    engine.said = [whole[:7], whole[7:90], whole[90:]]
    reports: list[PullProgress] = []
    await pull(reports)
    assert reports == [PullProgress(0, 1, 3, 9), PullProgress(1, 1, 9, 9)]
    (request,) = engine.asked
    assert (request.method, request.path) == ("POST", "/images/create")
    asked = {"fromImage": IMAGE.partition("@")[0], "tag": DIGEST}
    assert dict(request.query) == asked
    assert "X-Registry-Auth" not in request.headers


async def test_the_password_of_docker_login_is_sent_to_its_registry_only(
    engine: ScriptedEngine, tmp_path: Path
) -> None:
    auths = {
        "registry.example:5000": {"auth": base64.b64encode(b"ada:secret").decode()},
        "elsewhere.example": {"auth": base64.b64encode(b"bob:other").decode()},
    }
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
    await pull()
    sent = json.loads(base64.urlsafe_b64decode(engine.asked[0].headers["X-Registry-Auth"]))
    assert (sent["username"], sent["password"]) == ("ada", "secret")
    await EnginePull().pull(f"other.example/camp@{DIGEST}", lambda progress: None)
    assert "X-Registry-Auth" not in engine.asked[1].headers


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ([line({"error": "manifest unknown"})], ImageMissing, "No registry has image"),
        ([line(LAYER), line({"error": "no space left"})], EngineRefused, "no space left"),
        ([b"<html>\n"], EngineUnavailable, "did not answer"),
        ([b"[1]\n"], EngineUnavailable, "did not answer"),
        ([b"\xff\xfe\n"], EngineUnavailable, "did not answer"),
        ([line(LAYER), "cut"], EngineUnavailable, "did not answer"),
        ([b"x" * (LONGEST_LINE + 1)], EngineUnavailable, "has no end"),
    ],
)
async def test_what_goes_wrong_in_the_middle_is_an_error(
    engine: ScriptedEngine, said: list[bytes | str | None], kind: type[Exception], words: str
) -> None:
    engine.said = said
    with pytest.raises(kind, match=words):
        await pull()


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (404, "pull access denied", ImageMissing),
        (500, "manifest unknown: no such digest", ImageMissing),
        (500, "connection refused", EngineRefused),
    ],
)
async def test_a_refusal_is_told_in_the_engines_words(
    engine: ScriptedEngine, status: int, said: str, kind: type[Exception]
) -> None:
    engine.status, engine.said = status, [said]
    with pytest.raises(kind, match=said) as refused:
        await pull()
    assert type(refused.value) is kind


async def test_an_engine_that_is_away_is_unavailable(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    with pytest.raises(EngineUnavailable):
        await pull()


async def test_who_leaves_hangs_up_even_on_an_engine_that_says_nothing(
    engine: ScriptedEngine,
) -> None:
    engine.said = [line(LAYER), None]
    reports: list[PullProgress] = []
    task = asyncio.create_task(pull(reports))
    async with asyncio.timeout(60):
        while not reports:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await engine.hung_up.wait()
