"""A task that fails when whoever waited for it has gone is not told in the log."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from hub_ext.errors import LedgerUnavailable
from hub_ext.hub_side import Line


class Away:
    """A ledger that is away, and says so late."""

    def snapshot(self) -> None:
        raise LedgerUnavailable("it is away")


async def test_a_look_that_fails_when_nobody_looks_any_more() -> None:
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: told.append(context))
    line = Line(Away())  # type: ignore[arg-type]
    look = asyncio.create_task(line.look())
    await asyncio.sleep(0)
    reading = line._reading
    assert reading is not None
    look.cancel()
    await asyncio.wait([look])
    await asyncio.wait([reading])
    assert isinstance(reading._exception, LedgerUnavailable)  # not asked for, which is to see it
    line.ring()
    del reading
    await asyncio.sleep(0)
    gc.collect()
    assert told == []
