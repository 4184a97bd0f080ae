"""Work that comes in pieces lets others in between."""

from __future__ import annotations

import asyncio

import pytest
from jupyterhub.apihandlers import default_handlers as api
from jupyterhub.handlers import default_handlers as pages
from simulated_time import SimulatedTime

from hub_ext.sign_in import SignIn
from hub_ext.turnstile import HANDLERS, Turnstile

STARTS = 20
PIECES = 3  # of each
PIECE = 0.01  # seconds of the loop that each takes at once
TURNS = 4  # of the loop that an answer takes


def longest_answer(turnstile: Turnstile | None) -> float:
    """How long somebody else waits for an answer while all start at once, in seconds."""
    took: list[float] = []
    loop = SimulatedTime()

    async def start() -> None:
        if turnstile is not None:
            await turnstile.enter()
        for _ in range(PIECES):
            loop.work(PIECE)
            await asyncio.sleep(0)

    async def other() -> None:
        while True:
            await asyncio.sleep(0.001)
            began = loop.time()
            for _ in range(TURNS):
                await asyncio.sleep(0)
            took.append(loop.time() - began)

    async def all_at_once() -> None:
        asking = asyncio.create_task(other())
        await asyncio.sleep(0.01)
        await asyncio.gather(*(start() for _ in range(STARTS)))
        await asyncio.sleep(0.01)
        asking.cancel()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(all_at_once())
    return max(took)


def test_others_are_served_between_two_starts() -> None:
    assert longest_answer(None) >= STARTS * PIECE
    # an answer waits for the one start that is let in, and for nobody else
    assert longest_answer(Turnstile()) <= PIECES * PIECE + 0.001


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
