"""The doctor's only consulting room: one examination at a time, many listeners.

Guarantees: at most one examination runs; who asks for the same kernel meanwhile (the same spec, or
the same running one) joins it and gets every event from its start; who asks for another kernel gets
Conflict; when the last listener leaves, it is cancelled and its processes are ended; the report of
a finished examination is saved, once, and its verdict told to the service, for which nobody waits.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace

from ..errors import Conflict, ServiceUnavailable
from ..i18n import N_
from . import report, report_store, verdict
from .examination import Event, examine
from .facts import ProbeResult
from .kernel import Kernel
from .report import Finished
from .settings import Settings

FindKernel = Callable[[], Awaitable[Kernel]]
AskKernels = Callable[[], Coroutine[object, object, ProbeResult]]


class Examiner:
    """See the module."""

    def __init__(
        self, settings: Settings, log: logging.Logger, kernels: AskKernels | None = None
    ) -> None:
        self._settings = settings
        self._kernels = kernels
        self._log = log
        self._current: _Shared | None = None
        self.last: Finished | None = None  # of this server's life
        self._telling: asyncio.Task[None] | None = None

    async def events(
        self, kernel: str, find: FindKernel, kernel_id: str = ""
    ) -> AsyncGenerator[Event, None]:
        """All events of an examination of `kernel` (of the one with this id, if one that runs is
        meant): a new one, or the one that runs. Raises Conflict.
        """
        shared = self._current
        if shared is None or shared.over:
            source = examine(
                kernel, find, self._settings, kernel_id=kernel_id, kernels=self._kernels
            )
            shared = _Shared(kernel, kernel_id, source, self._finished)
            self._current = shared
        elif (shared.kernel, shared.kernel_id) != (kernel, kernel_id):
            raise Conflict(
                N_("The doctor is examining the kernel {kernel} right now; wait until it is done."),
                kernel=shared.kernel,
            )
        async with aclosing(shared.listen()) as events:
            async for event in events:
                yield event

    async def stop(self) -> None:
        """Ends a running examination."""
        if self._telling is not None:
            self._telling.cancel()
        if self._current is not None:
            await self._current.cancel()

    async def _finished(self, event: Finished) -> Finished:
        """Keeps the report; what the listeners get."""
        self.last = event
        document = report.describe(event, lambda text: text, "")
        problem = await asyncio.to_thread(report_store.save, self._settings.report_file, document)
        if problem:
            self._log.warning("The doctor's report could not be kept: %s", problem)
        if self._telling is not None:
            self._telling.cancel()  # of two verdicts the later one counts
        self._telling = asyncio.create_task(self._tell(event))
        return replace(event, not_kept=problem)

    async def _tell(self, event: Finished) -> None:
        problem = await verdict.tell(event, os.environ)
        if problem:
            self._log.warning("The doctor's verdict could not be told: %s", problem)


class _Shared:
    """An examination's events so far, for any number of listeners."""

    def __init__(
        self,
        kernel: str,
        kernel_id: str,
        source: AsyncGenerator[Event, None],
        finished: Callable[[Finished], Awaitable[Finished]],
    ) -> None:
        self.kernel = kernel
        self.kernel_id = kernel_id
        self._events: list[Event] = []
        self._changed = asyncio.Condition()
        self._listeners = 0
        self._error: BaseException | None = None
        self.over = False
        self._task = asyncio.create_task(self._run(source, finished))

    async def _run(
        self,
        source: AsyncGenerator[Event, None],
        finished: Callable[[Finished], Awaitable[Finished]],
    ) -> None:
        try:
            async with aclosing(source):
                async for event in source:
                    if isinstance(event, Finished):
                        event = await finished(event)
                    self._events.append(event)
                    async with self._changed:
                        self._changed.notify_all()
        except asyncio.CancelledError:
            self._error = ServiceUnavailable(N_("The examination was stopped; start it again."))
            raise
        except Exception as error:  # the listeners raise it
            self._error = error
        finally:
            self.over = True
            async with self._changed:
                self._changed.notify_all()

    async def listen(self) -> AsyncGenerator[Event, None]:
        position = 0
        self._listeners += 1
        try:
            while True:
                async with self._changed:
                    while not self.over and position == len(self._events):
                        await self._changed.wait()
                while position < len(self._events):
                    position += 1
                    yield self._events[position - 1]
                if self.over and position == len(self._events):
                    if self._error is not None:
                        raise self._error
                    return
        finally:
            self._listeners -= 1
            if self._listeners == 0 and not self.over:
                # over from now on, so that who asks next does not join what is being ended
                self.over = True
                await self.cancel()

    async def cancel(self) -> None:
        """Ends the examination and waits for its processes to be gone."""
        self._task.cancel()
        await asyncio.wait([self._task])
