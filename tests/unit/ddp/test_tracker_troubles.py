"""A program of trackers that hangs, floods, dies or gets no room; a server that ends meanwhile."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from server_ext.ddp import logs
from server_ext.ddp.launch_plan import Plan
from server_ext.ddp.manager import RunManager
from server_ext.ddp.trackers import forwarder, write_points
from server_ext.ddp.trackers.choice import NAMES, TENSORBOARD, WANDB, Tracker
from server_ext.ddp.trackers.forwarder import Forwarder

PlanMaker = Callable[..., Plan]
RUN = "20260131-120000-1a2b3c"
PACKAGES = Path(__file__).with_name("tracker_packages")
REPOSITORY = Path(__file__).parents[3]
MAIN = "from server_ext.ddp.trackers import write_points as program; program.CLOSE_SECONDS = 1; "


class Written:
    """A run's folder with a log of rank 0's lines, and forwarders of it."""

    def __init__(self, folder: Path, *names: str) -> None:
        """names: of trackers, all where none is named."""
        self.folder, self.log = folder, folder / "run.log"
        self.calls_file = folder / "calls"
        self.made: list[Forwarder] = []
        forwarder.save(
            folder,
            forwarder.new_record(
                [Tracker(name, str(folder / name)) for name in names or NAMES],
                python=sys.executable,
                folder=str(folder),
                title="t",
                config={},
                rank=0,
            ),
        )

    def variables(self, stand_in: str = "") -> dict[str, str]:
        paths = f"{PACKAGES}:{REPOSITORY}"
        calls = str(self.calls_file)
        return {"PYTHONPATH": paths, "TRACKER_CALLS": calls, "WANDB_STAND_IN": stand_in}

    def say(self, *lines: str) -> None:
        with self.log.open("a") as file:
            file.writelines(f"[default0]:{line}\n" for line in lines)

    def forwarder(self, stand_in: str = "") -> Forwarder:
        one = Forwarder(
            RUN, self.folder, self.log, self.variables(stand_in), logging.getLogger("test")
        )
        self.made.append(one)
        return one

    def record(self) -> forwarder.Record:
        found = forwarder.load(self.folder)
        assert found is not None
        return found

    def states(self) -> dict[str, str]:
        return {one["name"]: one["state"] for one in self.record().states}

    def calls(self, kind: str) -> list[Any]:
        if not self.calls_file.exists():
            return []
        seen = [json.loads(line) for line in self.calls_file.read_text().splitlines()]
        return [one for one in seen if kind in one]

    def scalars(self) -> list[tuple[int, float]]:
        return [(one["step"], one["value"]) for one in self.calls("scalar")]


@pytest.fixture
async def written(tmp_path: Path) -> AsyncIterator[Written]:
    made = Written(tmp_path)
    yield made
    for one in made.made:
        if one._child is not None:
            one._child.kill()
            one._child.wait()


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def finished(one: Forwarder, exit_code: int = 0) -> None:
    one.end(exit_code)
    await one.watch()


async def cancelled(watch: asyncio.Task[None]) -> None:
    watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch


# -- what is written down


async def test_only_what_the_program_took_is_written_down(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hangs takes what fits into a pipe; the next server hands over all of it again."""
    monkeypatch.setattr(forwarder, "TICK_SECONDS", 0.05)
    lines = [f"loss={number}" for number in range(60_000)]
    written.say(*lines)
    stuck = written.forwarder("hangs")
    watch = asyncio.create_task(stuck.watch())
    await until(lambda: stuck._child is not None and stuck._pending)
    await asyncio.sleep(0.3)
    assert len(stuck._pending) < 2**22  # and no more is read
    await cancelled(watch)
    assert written.record().offset < written.log.stat().st_size
    written.calls_file.unlink(missing_ok=True)
    await finished(written.forwarder())
    assert [value for _, value in written.scalars()] == list(range(60_000))
    assert written.states() == {TENSORBOARD: "closed", WANDB: "closed"}


async def test_a_server_that_ends_in_the_middle_of_a_tick_keeps_how_far_it_was(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    written.say("loss=0", "loss=1")
    first = written.forwarder()
    looking, go = asyncio.Event(), threading.Event()
    real, loop = logs.read, asyncio.get_running_loop()

    def held(path: str, offset: int, count: int) -> bytes:
        if path.endswith(forwarder.TOLD):
            loop.call_soon_threadsafe(looking.set)
            go.wait(30)
        return real(path, offset, count)

    with monkeypatch.context() as patch:
        patch.setattr(logs, "read", held)
        watch = asyncio.create_task(first.watch())
        await looking.wait()  # the numbers were handed over, and not written down
        await cancelled(watch)
        go.set()
    written.say("loss=2")
    await until(lambda: {"finish": 255} in written.calls("finish"))
    await finished(written.forwarder())
    assert written.scalars() == [(0, 0.0), (1, 1.0), (2, 2.0)]  # counted on, each once


async def test_what_a_program_of_the_server_before_says_is_not_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It still sends what it has while the next one has opened the same tracker."""
    monkeypatch.setattr(forwarder, "TICK_SECONDS", 0.05)
    written = Written(tmp_path, WANDB)
    written.say("loss=0")
    first = written.forwarder("lingers")
    watch = asyncio.create_task(first.watch())
    await until(lambda: written.states() == {WANDB: "open"})
    await cancelled(watch)
    written.say("loss=1")
    second = written.forwarder()
    watch = asyncio.create_task(second.watch())
    await until(lambda: len(written.calls("init")) == 2)
    assert first._child is not None
    await asyncio.to_thread(first._child.wait)
    await asyncio.sleep(0.3)  # the second looks at what was told
    assert written.states() == {WANDB: "open"}
    written.say("loss=2")
    second.end(0)
    await watch
    assert [one["log"]["loss"] for one in written.calls("log")] == [0, 1, 2]


# -- the program


def test_a_tracker_that_hangs_does_not_outlive_the_server_for_long(written: Written) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MAIN + "program.main()"],
        stdin=subprocess.PIPE,
        env={**os.environ, **written.variables("hangs")},
    ) as program:
        assert program.stdin is not None
        try:
            opened = {"name": WANDB, "where": "class", "offline": False, "run": RUN, "title": "t"}
            program.stdin.write(json.dumps({"open": [opened | {"config": {}}]}).encode() + b"\n")
            program.stdin.close()
            assert program.wait(60) == -signal.SIGALRM
        finally:
            program.kill()


def test_a_full_volume_for_its_words_keeps_no_tracker_from_its_points(written: Written) -> None:
    opened = {"where": "x", "offline": False, "run": RUN, "title": "t", "config": {}, "counts": {}}
    messages = [
        {"open": [opened | {"name": TENSORBOARD}, opened | {"name": WANDB}]},
        {"points": [[None, None, {"loss": 0.5}]]},
        {"close": 0},
    ]
    with open("/dev/full", "wb") as full:
        subprocess.run(
            [sys.executable, write_points.__file__],
            input=b"".join(json.dumps(one).encode() + b"\n" for one in messages),
            stdout=full,
            env={**os.environ, **written.variables()},
            check=False,
            timeout=60,
        )
    assert written.scalars() == [(0, 0.5)]
    assert written.calls("log") == [{"log": {"loss": 0.5}}]
    assert written.calls("finish") == [{"finish": 0}]


async def test_what_libraries_print_does_not_fill_the_volume(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarder, "ERRORS_BYTES", 30_000)
    written.say(*(f"loss={number}" for number in range(20)))
    await finished(written.forwarder("floods"))
    assert written.states()[WANDB] == "closed"
    assert len(written.calls("log")) == 20
    assert (written.folder / forwarder.ERRORS).stat().st_size <= 30_000


async def test_one_that_is_killed_is_told_and_starts_nothing_again(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarder, "TICK_SECONDS", 0.05)
    written.say("loss=1")
    one = written.forwarder()
    watch = asyncio.create_task(one.watch())
    await until(lambda: written.states() == {TENSORBOARD: "open", WANDB: "open"})
    assert one._child is not None
    one._child.kill()
    await watch  # nothing waits for numbers any more
    assert written.states() == {TENSORBOARD: "failed", WANDB: "failed"}
    assert {state["reason"] for state in written.record().states} == {"exit -9"}


async def test_its_last_words_count_though_it_ends_at_that_moment(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ending:
        """Says its last words, and ends, just after they were looked for."""

        returncode, ended, stdin = 0, False, None

        def poll(self) -> int | None:
            return 0 if self.ended else None

    one, program = written.forwarder(), Ending()
    assert await one._open_record()
    monkeypatch.setattr(one, "_child", program)
    words = [
        {"name": n, "state": "closed", "where": "", "reason": ""} for n in (TENSORBOARD, WANDB)
    ]

    def read(path: str, offset: int, count: int) -> bytes:
        if not program.ended:
            program.ended = True
            return b""
        return b"".join(json.dumps(word).encode() + b"\n" for word in words)[offset:]

    with monkeypatch.context() as patch:
        patch.setattr(logs, "read", read)
        assert not await one._listen()
        assert await one._listen()
        assert not await one._listen()
    assert one._record is not None
    assert {state["state"] for state in one._record.states} == {"closed"}
    monkeypatch.setattr(one, "_child", None)


async def test_what_fails_here_is_told(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Forwarder, "_read", fails)
    await written.forwarder().watch()
    assert written.states() == {TENSORBOARD: "failed", WANDB: "failed"}
    assert written.record().states[0]["reason"] == "can't start new thread"


# -- who waits


async def test_who_waits_for_one_run_does_not_wait_for_another(
    manager: RunManager, plan_for: PlanMaker, written: Written
) -> None:
    trackers = (Tracker(WANDB, "class"),)
    await manager.start(
        plan_for("say=loss=1", "seconds=60", goes_to=trackers, environment=written.variables())
    )
    run = await manager.start(plan_for())
    await manager.wait(run.id)
    await asyncio.wait_for(manager.sent(run.id, 600), 30)
