"""A process whose clock, threads and end are a test's: an event loop that only moves when told.

- Time is the test's: a sleep of an hour takes as long as `time_passes` says, and no real time.
- What would run in a thread (asyncio.to_thread) or at another process waits in `calls` until the
  test ends it, so that any number of other things can happen before, between and after.
- `kill` is SIGKILL: no handler and no clean-up of the process does anything any more. What it had
  sent to the Engine may still take effect.

The same decisions of a test lead to the same run, step by step.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Outcome(Enum):
    """How a call ends; see fake_engine_world.py. To a ledger's call LOST is as ERROR."""

    OK = "ok"
    ERROR = "error"
    LOST = "lost"


class Killed(BaseException):
    """The process does not exist any more."""


@dataclass(eq=False)
class Call:
    """One call to the world outside; `run` has its effect."""

    name: str
    run: Callable[[Outcome], Any]
    future: asyncio.Future[Any]
    late: list[Callable[[], object]] | None = None


@dataclass
class Clock:
    """Seconds since the simulation began, the same for all processes."""

    seconds: float = 0.0


class Process(asyncio.SelectorEventLoop):
    """An event loop that `run_ready` moves as far as it gets without the world outside."""

    def __init__(self, clock: Clock, failure: Callable[[], Exception]) -> None:
        """`failure` makes the error of a call to the ledger that is let to fail."""
        super().__init__()
        self._clock = clock
        self._failure = failure
        self.calls: list[Call] = []
        self.alive = True
        self.set_exception_handler(self._remember)
        self.unexpected: list[BaseException] = []

    def _remember(self, _loop: object, context: dict[str, Any]) -> None:
        error = context.get("exception") or RuntimeError(context["message"])
        self.unexpected.append(error)

    def time(self) -> float:
        return self._clock.seconds

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task whose errors are nobody's business but the test's: see `unexpected`."""
        task = self.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.unexpected.append(error)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        """What asyncio.to_thread calls."""

        def run(outcome: Outcome) -> Any:
            if outcome is not Outcome.OK:
                raise self._failure()
            return func(*args)

        return self._pend(_name_of(func), run)

    async def call(
        self, name: str, run: Callable[[Outcome], Any], late: list[Any] | None = None
    ) -> Any:
        """A call to another process; it goes on if whoever waits for it is cancelled."""
        return await asyncio.shield(self._pend(name, run, late))

    def _pend(
        self, name: str, run: Callable[[Outcome], Any], late: list[Any] | None = None
    ) -> asyncio.Future[Any]:
        if not self.alive:
            raise Killed
        future: asyncio.Future[Any] = self.create_future()
        self.calls.append(Call(name, run, future, late))
        return future

    def finish(self, call: Call, outcome: Outcome = Outcome.OK) -> None:
        """Let a call end, and the process go on."""
        self.calls.remove(call)
        try:
            result = call.run(outcome)
        except AssertionError:  # of the test that watches
            raise
        except Exception as error:
            if not call.future.done():
                call.future.set_exception(error)
                call.future.exception()  # whoever was cancelled does not ask
        else:
            if not call.future.done():
                call.future.set_result(result)
        self.run_ready()

    def run_ready(self) -> None:
        """Run until every task waits for time or for a call."""
        while True:
            self.call_soon(self.stop)
            self.run_forever()
            if not self._ready:  # type: ignore[attr-defined]  # of asyncio's own loop
                return

    def kill(self, *, committed: bool = False) -> None:
        """End at once; `committed`: the oldest call had its effect already."""
        if not self.alive:
            return
        self.alive = False
        for number, call in enumerate(self.calls):
            if number == 0 and committed:
                with contextlib.suppress(Exception):
                    call.run(Outcome.OK)
            elif call.late is not None:
                call.late.append(functools.partial(call.run, Outcome.OK))
        self.calls.clear()
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # of asyncio.Task
            with contextlib.suppress(BaseException):
                task.get_coro().close()  # type: ignore[union-attr]  # it is no generator
        self.close()


def _name_of(func: Any) -> str:
    while isinstance(func, functools.partial):
        func = func.args[0] if func.args else func.func
    return str(getattr(func, "__name__", func))
