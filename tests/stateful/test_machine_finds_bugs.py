"""The machine of test_lease_machine.py can fail: bugs put in on purpose, each of which it finds.

Each is one careless line away, or one that systems of this kind have had. They are put into the
real modules, and the machine runs until it fails, at most for the budget of a test run (each was
found within 600 steps when this was written).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from test_lease_machine import WANTED_STEPS, LeaseMachine, machine_settings

from hub_ext import lifecycle
from hub_ext.engine import Presence
from hub_ext.ledger import accounting
from hub_ext.service import monitor


def an_engine_that_does_not_answer_has_no_containers(patch: pytest.MonkeyPatch) -> None:
    plan = monitor.plan
    patch.setattr(
        monitor, "plan", lambda seen, found, *rest, **more: plan(seen, found or (), *rest, **more)
    )


def a_stop_that_nobody_confirmed_counts(patch: pytest.MonkeyPatch) -> None:
    """As stock DockerSpawner: what does not answer is taken for stopped."""

    async def remove(self: lifecycle.Lifecycle) -> None:
        state = await self.state()
        if state.presence is Presence.RUNNING:
            await self._do(self.side.engine.remove(state.id))

    patch.setattr(lifecycle.Lifecycle, "_remove_container", remove)


def what_a_lease_used_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(accounting, "write", lambda *_all, **_more: None)


BUGS: list[Callable[[pytest.MonkeyPatch], None]] = [
    an_engine_that_does_not_answer_has_no_containers,
    a_stop_that_nobody_confirmed_counts,
    what_a_lease_used_is_forgotten,
]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_it_finds(bug: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch):
    bug(monkeypatch)
    before = LeaseMachine.executed.total()
    quick = settings(machine_settings(20), phases=[Phase.generate], database=None, print_blob=False)
    with pytest.raises(AssertionError):
        while LeaseMachine.executed.total() - before < WANTED_STEPS:
            run_state_machine_as_test(LeaseMachine, settings=quick)
