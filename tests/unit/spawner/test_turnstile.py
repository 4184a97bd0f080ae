"""Work that comes in pieces lets others in between."""

from __future__ import annotations

import asyncio
import time

import pytest
from jupyterhub.apihandlers import default_handlers as api
from jupyterhub.handlers import default_handlers as pages

from hub_ext.sign_in import SignIn
from hub_ext.turnstile import HANDLERS, Turnstile

STARTS = 20
PIECES = 3  # of each
PIECE = 0.01  # seconds of the loop that each takes at once
TURNS = 4  # of the loop that an answer takes


async def longest_answer(turnstile: Turnstile | None) -> float:
    """How long somebody else waits for an answer while all start at once, in seconds."""
    took: list[float] = []

    async def start() -> None:
        if turnstile is not None:
            await turnstile.enter()
        for _ in range(PIECES):
            time.sleep(PIECE)  # noqa: ASYNC251  (the loop is to be kept busy)
            await asyncio.sleep(0)

    async def other() -> None:
        while True:
            await asyncio.sleep(0.001)
            began = time.monotonic()
            for _ in range(TURNS):
                await asyncio.sleep(0)
            took.append(time.monotonic() - began)

    asking = asyncio.create_task(other())
    await asyncio.sleep(0.01)
    await asyncio.gather(*(start() for _ in range(STARTS)))
    await asyncio.sleep(0.01)
    asking.cancel()
    return max(took)


async def test_others_are_served_between_two_starts() -> None:
    together = await longest_answer(None)
    in_turn = await longest_answer(Turnstile())
    assert together >= STARTS * PIECE
    assert in_turn < together / 2


def test_a_start_that_comes_alone_does_not_wait() -> None:
    async def enter() -> bool:
        entering = Turnstile().enter()
        with pytest.raises(StopIteration):
            entering.send(None)  # it goes to its end at once
        return True

    assert asyncio.run(enter())


async def test_each_comes_in_and_in_order() -> None:
    turnstile = Turnstile()
    came: list[int] = []

    async def start(number: int) -> None:
        await turnstile.enter()
        came.append(number)

    await asyncio.gather(*(start(number) for number in range(10)))
    assert came == list(range(10))


async def test_one_who_leaves_lets_the_next_in() -> None:
    turnstile = Turnstile()
    starts = [asyncio.create_task(turnstile.enter()) for _ in range(3)]
    await asyncio.sleep(0)
    starts[0].cancel()
    starts[1].cancel()
    await asyncio.wait_for(starts[2], 10)


def test_each_takes_the_place_of_one_of_jupyterhubs() -> None:
    """JupyterHub looks for a handler by these patterns, and the authenticator's come first."""
    its_own = dict([each[:2] for each in [*api, *pages]])
    for pattern, handler in HANDLERS:
        assert issubclass(handler, its_own[pattern])
    assert HANDLERS == SignIn.get_handlers(None, None)[-len(HANDLERS) :]
