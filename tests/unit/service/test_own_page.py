"""A participant's page: what it says of their use, their volumes and their place in the line."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from resets import reset
from service_server import person
from service_world import World, now

from hub_ext import scopes
from hub_ext.models import Request
from hub_ext.policy import Policy, Rule
from hub_ext.service.day_bars import HEIGHT, TOP, WIDTH, day_bars
from hub_ext.space import GIB, VolumeFact

MINE = "users/ada/server"


def measured(ask) -> None:
    """The volumes are measured."""
    asyncio.run_coroutine_threadsafe(ask.service.space.round(), ask.loop).result(10)


def test_use_of_the_last_days_is_told_with_and_without_a_quota(ask, world: World):
    world.stop_server("ada", "")
    assert "none in the last seven days" in ask("GET", "", "bob-token").text
    begin = now().replace(hour=3, minute=0) - timedelta(days=2)
    world.run_server("ada", at=begin)
    lease = world.ledger.lease_of("ada", "")
    world.ledger.end(lease.id, "stopped", begin + timedelta(hours=3))
    page = ask("GET", "", "ada-token").text
    assert f"{begin.date()}: 3" in page and "There is no quota." in page
    world.ledger.set_policy(Policy(default=Rule(priority=0, device_hours_per_day=12.0)))
    page = ask("GET", "", "ada-token").text
    assert f"{begin.date()}: 3" in page and "There is no quota." not in page
    assert "Device-hours today (UTC)" in page


def test_who_may_see_one_server_only_does_not_learn_of_the_others(ask):
    ask.tokens["one-server"] = person("kim", f"{scopes.ENVIRONMENT_READ}!server=ada/")
    page = ask("GET", MINE, "one-server")
    assert page.status_code == 200 and "Device-hours by day" not in page.text
    assert "Device-hours by day" in ask("GET", MINE, "instructor-token").text


def test_each_environment_is_told_with_its_size(ask, world: World):
    world.stop_server("ada", "")
    for _ in range(2):
        reset(world.ledger, "ada", "", now())
    world.volumes = [
        VolumeFact("ada", 5 * GIB, None),
        VolumeFact("ada", 2 * GIB, ("", 3)),
        VolumeFact("ada", 7 * GIB, ("", 2)),
        VolumeFact("ada", 9 * GIB, ("", 99)),
        VolumeFact("ada", 4 * GIB, ("other", 1)),
        VolumeFact("bob", 8 * GIB, ("", 1)),
    ]
    assert "Of this server" not in ask("GET", "").text, "before it is measured"
    measured(ask)
    page = ask("GET", "").text
    assert "Generation 3: 2.0 GiB, in use" in page
    assert "Generation 2: 7.0 GiB, kept for an undo" in page
    assert "Generation 99: 9.0 GiB, is deleted soon" in page
    assert "4.0 GiB" not in page and "8.0 GiB" not in page


def test_who_waits_reads_for_what_and_since_when(ask, world: World):
    world.stop_server("ada", "")
    world.ledger.enqueue(Request("ada", "", 2), now() - timedelta(minutes=5), waiter="run")
    page = ask("GET", "").text
    assert "Waits for" in page and "2 GPUs" in page and "since <time" in page


def test_the_server_comes_before_all_else(ask):
    page = ask("GET", "").text
    assert page.index('id="server-title"') < page.index('id="hand-title"')


@pytest.mark.parametrize("hours", [[0] * 7, [0, 1, 2, 3, 4, 5, 24], [0.001, 24], [5]])
def test_columns_fit_the_picture_and_any_use_is_seen(hours):
    found = day_bars({f"2026-01-{n + 1:02}": each * 3600.0 for n, each in enumerate(hours)})
    assert [bar.hours for bar in found] == pytest.approx(hours)
    for bar, each in zip(found, hours, strict=True):
        assert 0 <= bar.x and bar.x + 34 <= WIDTH and TOP <= bar.y
        assert bar.y + bar.height <= HEIGHT and (bar.height >= 2) == (each > 0)
    assert day_bars({}) == ()


def test_a_minute_is_no_tower():
    (bar,) = day_bars({"2026-01-01": 60.0})
    assert bar.height < 0.1 * (HEIGHT - TOP)
