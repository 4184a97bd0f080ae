"""The only place of a server where is measured: one measurement at a time, whoever asks.

Guarantees: two at once, also of the panel and a terminal, would measure each other: the second gets
Conflict; when its consumer stops, a measurement is ended with all of its processes; the result of
one that ended is kept.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from ...errors import BadRequest, Conflict, NotFound
from ...i18n import N_, Gettext
from .. import report, report_store
from ..kernel import Kernel
from ..settings import Settings
from . import figures
from .figures import Skipped
from .measure import Event, Limits, Measured, measure

_BUSY = N_("This server is being measured right now; wait until that is done.")


def result_file(settings: Settings) -> Path:
    """Where the last result is kept, beside the last report."""
    return settings.report_file.with_name("performance.json")


class Measurer:
    """See the module."""

    def __init__(
        self, settings: Settings, log: logging.Logger | None = None, limits: Limits | None = None
    ) -> None:
        self._settings = settings
        self._log = log
        self._limits = limits
        self._task: asyncio.Task[Any] | None = None

    async def events(self, find: Callable[[], Awaitable[Kernel]]) -> AsyncGenerator[Event, None]:
        """All events of a measurement. Raises Conflict, NotFound, BadRequest before the first."""
        if self._task is not None:
            raise Conflict(_BUSY)
        self._task = asyncio.current_task()
        lock: int | None = None
        try:
            kernel = await find()
            _refuse(kernel)
            lock = await _locked(result_file(self._settings).with_suffix(".lock"))
            async with aclosing(measure(kernel, self._limits)) as events:
                async for event in events:
                    if isinstance(event, Measured):
                        await self._keep(event)
                    yield event
        finally:
            self._task = None
            if lock is not None:
                os.close(lock)

    async def stop(self) -> None:
        """Ends a running measurement."""
        task = self._task
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait([task])

    async def _keep(self, measured: Measured) -> None:
        document = describe(measured, lambda text: text, "")
        path = result_file(self._settings)
        problem = await asyncio.to_thread(report_store.save, path, document)
        if problem and self._log is not None:
            self._log.warning("The performance could not be kept: %s", problem)


def _refuse(kernel: Kernel) -> None:
    """Raises NotFound or BadRequest for a kernel that cannot be measured."""
    if not kernel.spec.get("found"):
        raise NotFound(
            N_("There is no kernel {kernel} that could be measured."), kernel=kernel.name
        )
    if not kernel.python:
        raise BadRequest(
            N_("The kernel {kernel} has no Python that could be measured; examine it."),
            kernel=kernel.name,
        )


async def _locked(path: Path) -> int | None:
    """`_lock` in a thread; cancelled meanwhile, the file is closed nevertheless."""
    locking = asyncio.ensure_future(asyncio.to_thread(_lock, path))
    try:
        return await asyncio.shield(locking)
    except asyncio.CancelledError:
        await asyncio.wait([locking])
        if locking.exception() is None and (descriptor := locking.result()) is not None:
            os.close(descriptor)
        raise


def _lock(path: Path) -> int | None:
    """A file that is locked until it is closed, or None where none can be had. Raises Conflict."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None  # a full disk is no reason not to measure
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Conflict(_BUSY) from None
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def describe(measured: Measured, gettext: Gettext, docs_url: str) -> dict[str, object]:
    """The whole result as JSON, in the reader's language."""
    findings = report.worst_first(measured.findings)
    return {
        "started_at": measured.started_at,
        "seconds": round(measured.seconds, 3),
        "kernel": measured.kernel,
        "torch": measured.torch,
        "verdict": report.verdict(findings),
        "figures": [figure.describe(gettext) for figure in measured.figures],
        "skipped": [item.describe(gettext) for item in measured.skipped],
        "findings": [finding.describe(gettext, docs_url) for finding in findings],
        "facts": report.describe_facts(measured.facts),
    }


def localised(result: Mapping[str, Any], gettext: Gettext, docs_url: str) -> dict[str, Any]:
    """A kept result in another language; what is of an unknown name stays as it is."""

    def figure(item: Any) -> Any:
        name = item.get("name") if isinstance(item, dict) else None
        return (
            {**item, "title": gettext(figures.FIGURES[name])} if name in figures.FIGURES else item
        )

    def skipped(item: Any) -> Any:
        if not isinstance(item, dict) or item.get("reason") not in figures.REASONS:
            return item
        device = item.get("device")
        known = Skipped(
            str(item.get("name")),
            item["reason"],
            str(item.get("detail", "")),
            device if isinstance(device, int) else None,
        )
        return known.describe(gettext)

    return {
        **report_store.localised(result, gettext, docs_url),
        "figures": [figure(item) for item in _list(result.get("figures"))],
        "skipped": [skipped(item) for item in _list(result.get("skipped"))],
    }


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
