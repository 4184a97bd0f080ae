"""The doctor's only consulting room: one examination at a time, many listeners.

Guarantees: at most one examination runs; who asks for the same kernel meanwhile joins it and gets
every event from its start; who asks for another kernel gets Conflict; when the last listener
leaves, it is cancelled and its processes are ended; the report of a finished examination is
saved, once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from ..errors import Conflict, ServiceUnavailable
from ..i18n import N_
from . import report, report_store
from .examination import Event, examine
from .kernel import Kernel
from .report import Finished
from .settings import Settings

FindKernel = Callable[[], Awaitable[Kernel]]


class Examiner:
    """See the module."""

    def __init__(self, settings: Settings, log: logging.Logger) -> None:
        self._settings = settings
        self._log = log
        self._current: _Shared | None = None
        self.last: Finished | None = None  # of this server's life

    async def events(self, kernel: str, find: FindKernel) -> AsyncGenerator[Event, None]:
        """All events of an examination of `kernel`: a new one, or the one that runs. Raises
        Conflict.
        """
        shared = self._current
        if shared is None or shared.over:
            shared = _Shared(kernel, examine(kernel, find, self._settings), self._finished)
            self._current = shared
        elif shared.kernel != kernel:
            raise Conflict(
                N_("The doctor is examining the kernel {kernel} right now; wait until it is done."),
                kernel=shared.kernel,
            )
        async with aclosing(shared.listen()) as events:
            async for event in events:
                yield event

    async def stop(self) -> None:
        """Ends a running examination."""
        if self._current is not None:
            await self._current.cancel()

    async def _finished(self, event: Finished) -> None:
        self.last = event
        document = report.describe(event, lambda text: text, "")
        problem = await asyncio.to_thread(report_store.save, self._settings.report_file, document)
        if problem:
            self._log.warning("The doctor's report could not be kept: %s", problem)


class _Shared:
    """An examination's events so far, for any number of listeners."""

    def __init__(
        self,
        kernel: str,
        source: AsyncGenerator[Event, None],
        finished: Callable[[Finished], Awaitable[None]],
    ) -> None:
        self.kernel = kernel
        self._events: list[Event] = []
        self._changed = asyncio.Condition()
        self._listeners = 0
        self._error: BaseException | None = None
        self.over = False
        self._task = asyncio.create_task(self._run(source, finished))

    async def _run(
        self,
        source: AsyncGenerator[Event, None],
        finished: Callable[[Finished], Awaitable[None]],
    ) -> None:
        try:
            async with aclosing(source):
                async for event in source:
                    if isinstance(event, Finished):
                        await finished(event)
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
