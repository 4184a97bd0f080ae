"""Commands in containers, against an Engine that loses, floods and refuses as it is told."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from hub_ext import engine_exec
from hub_ext.engine_exec import ContainerNotRunning, Done, EngineExec, OutputTooLong, _Output
from hub_ext.errors import EngineRefused, EngineUnavailable


def frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(data)) + data


class ScriptedEngine:
    """`said` are pieces of the output, None is a pause without end; `state` what inspect tells."""

    def __init__(self) -> None:
        self.said: list[bytes | None] = [frame(1, b"out"), frame(2, b"err")]
        self.state: dict[str, Any] = {"Running": False, "ExitCode": 0}
        self.refusals: dict[str, tuple[int, str]] = {}
        self.asked: list[tuple[str, Any]] = []
        self.hung_up = asyncio.Event()
        self.silent = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.asked.append((request.path, body))
        last = request.path.rpartition("/")[2]
        if self.silent:
            await asyncio.sleep(30)
        if last in self.refusals:
            status, words = self.refusals[last]
            return web.json_response({"message": words}, status=status)
        if request.path.startswith("/containers/"):
            return web.json_response({"Id": "e1"}, status=201)
        if last == "json":
            return web.json_response(self.state)
        response = web.StreamResponse()
        response.force_close()
        await response.prepare(request)
        try:
            for piece in self.said:
                if piece is None:
                    await asyncio.Event().wait()
                else:
                    await response.write(piece)
        except (asyncio.CancelledError, ConnectionError):
            self.hung_up.set()
            raise
        return response


@pytest.fixture
async def scripted(tmp_path: Path) -> AsyncIterator[tuple[ScriptedEngine, EngineExec]]:
    engine = ScriptedEngine()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", engine.handle)
    # a client that hangs up is noticed at once, as the Engine does
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    socket = tmp_path / "engine.sock"
    await web.UnixSite(runner, str(socket)).start()
    yield engine, EngineExec(f"unix://{socket}")
    await runner.cleanup()


async def run(client: EngineExec, most_bytes: int = 1000) -> Done:
    return await client.run(
        "c1", ["doctor", "--json"], environment={"A": "b"}, most_bytes=most_bytes
    )


async def test_output_and_exit_code_come_back(scripted):
    engine, client = scripted
    engine.state["ExitCode"] = 2
    assert await run(client) == Done(2, b"out", b"err")
    path, request = engine.asked[0]
    assert path == "/containers/c1/exec"
    assert request == {
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": False,
        "Cmd": ["doctor", "--json"],
        "Env": ["A=b"],
    }
    assert "User" not in request and "Privileged" not in request, "the container's own"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_frames_may_be_cut_anywhere(size):
    whole = (
        frame(1, b"abc") + frame(2, b"x" * 30) + frame(1, b"") + frame(0, b"in") + frame(1, b"d")
    )
    output = _Output(100)
    for start in range(0, len(whole), size):
        output.feed(whole[start : start + size])
    assert (bytes(output.stdout), bytes(output.stderr)) == (b"abcd", b"x" * 30)


async def test_too_much_output_is_given_up_at_once(scripted):
    engine, client = scripted
    engine.said = [frame(1, b"x" * 600), frame(1, b"x" * 600), None]
    with pytest.raises(OutputTooLong):
        await run(client)
    await asyncio.wait_for(engine.hung_up.wait(), 10)


async def test_of_a_flood_of_errors_the_end_is_kept(scripted):
    engine, client = scripted
    engine.said = [frame(2, b"x" * 9000), frame(2, b"the end")]
    done = await run(client)
    assert done.stderr.endswith(b"x" * 20 + b"the end")
    assert len(done.stderr) == engine_exec.STDERR_BYTES


async def test_cancelled_it_hangs_up_so_that_the_commands_stdin_ends(scripted):
    engine, client = scripted
    engine.said = [frame(1, b"begun"), None]
    running = asyncio.create_task(run(client))
    while len(engine.asked) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    await asyncio.wait_for(engine.hung_up.wait(), 10)


@pytest.mark.parametrize(
    ("step", "status", "error"),
    [
        ("exec", 404, ContainerNotRunning),
        ("exec", 409, ContainerNotRunning),
        ("exec", 500, EngineRefused),
        ("start", 409, ContainerNotRunning),
        ("start", 500, EngineRefused),
        ("json", 500, EngineRefused),
    ],
)
async def test_a_no_of_the_engine_is_told_in_its_words(scripted, step, status, error):
    engine, client = scripted
    engine.refusals[step] = (status, "no such thing")
    with pytest.raises(error, match="no such thing"):
        await run(client)


@pytest.mark.parametrize("said", [[b"OCI runtime exec failed"], [b"\x01\x02\x03\x04" + b"\0" * 9]])
async def test_what_is_no_frame_is_no_answer(scripted, said):
    engine, client = scripted
    engine.said = said
    with pytest.raises(EngineUnavailable, match="garbled"):
        await run(client)


async def test_an_engine_that_is_lost_in_the_middle_is_no_answer(scripted, monkeypatch):
    """The output ends, but the command runs on."""
    monkeypatch.setattr(engine_exec, "EXIT_SECONDS", 0.3)
    engine, client = scripted
    engine.state = {"Running": True, "ExitCode": None}
    with pytest.raises(EngineUnavailable, match="lost the output"):
        await run(client)


async def test_an_exit_code_that_comes_a_little_later_is_waited_for(scripted):
    engine, client = scripted
    engine.state = {"Running": True, "ExitCode": None}
    running = asyncio.create_task(run(client))
    while sum(path.endswith("json") for path, _ in engine.asked) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    engine.state = {"Running": False, "ExitCode": 1}
    assert (await running).exit_code == 1


async def test_an_engine_that_does_not_answer_is_given_up(scripted, monkeypatch):
    monkeypatch.setattr(engine_exec, "ANSWER_SECONDS", 0.1)
    engine, client = scripted
    engine.silent = True
    with pytest.raises(EngineUnavailable, match="did not answer within"):
        await run(client)


@pytest.mark.parametrize("address", ["unix:///nowhere.sock", "tcp://127.0.0.1:9", "ssh://host"])
async def test_no_engine_there_is_no_answer(address):
    with pytest.raises(EngineUnavailable):
        await EngineExec(address).run("c1", ["x"], most_bytes=1)


async def test_docker_host_names_the_engine(scripted, monkeypatch):
    _engine, client = scripted
    monkeypatch.setenv("DOCKER_HOST", str(client._address))
    assert (await run(EngineExec())).stdout == b"out"


async def test_an_answer_that_is_no_json_is_no_answer(scripted, monkeypatch):
    engine, client = scripted

    async def odd(_session: Any, *_rest: Any) -> Any:
        return json.loads("{}")

    monkeypatch.setattr(engine_exec, "_json", odd)
    with pytest.raises(EngineUnavailable, match="KeyError"):
        await run(client)
