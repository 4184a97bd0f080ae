"""Leases on a time line: who had which device when, in the ledger, over REST and on the page."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from service_world import UUIDS, now

from hub_ext.ledger.time_line import Tenure
from hub_ext.models import Request
from hub_ext.service.health_strip import Span
from hub_ext.service.time_line import LEFT, WIDTH, time_line

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SINCE, UNTIL = NOW - 24 * HOUR, NOW + 4 * HOUR


def tenure(begin: float, end: float | None, user: str = "ada", lasts: float | None = None):
    """Of GPU-a, in hours from now on."""
    return Tenure(
        f"{user}{begin}",
        user,
        "",
        "GPU-a",
        NOW + begin * HOUR,
        None if end is None else NOW + end * HOUR,
        None if lasts is None else NOW + lasts * HOUR,
        "",
    )


def bars_of(*tenures: Tenure):
    return time_line(["GPU-a", "GPU-b"], tenures, {}, SINCE, UNTIL, NOW).rows[0].bars


def test_a_lease_goes_to_now_and_dashed_to_its_end():
    live, expected = bars_of(tenure(-2, None, lasts=2))
    assert (live.kind, expected.kind) == ("live", "expected")
    assert live.x + live.width == pytest.approx(expected.x, abs=0.2)
    assert live.width == pytest.approx(expected.width, abs=0.2)
    (alone,) = bars_of(tenure(-2, None))
    assert alone.kind == "live", "without an end nothing is dashed"


def test_who_shares_a_device_has_a_lane_of_their_own():
    first, second, third = bars_of(tenure(-9, -3, "ada"), tenure(-8, -4, "bob"), tenure(-2, -1))
    assert first.y == third.y, "a lane that is free is used again"
    assert second.y == pytest.approx(first.y + first.height)


def test_a_name_stands_where_there_is_room():
    (long,) = bars_of(tenure(-20, -1, "ada"))
    (short,) = bars_of(tenure(-2, -1.9, "ada"))
    (cut,) = bars_of(tenure(-4, -1, "a-user-with-a-very-long-name"))
    assert (long.text, short.text) == ("ada", "")
    assert cut.text.endswith("…") and cut.text.startswith("a-us")
    (wide,) = bars_of(tenure(-3, -1, "很长的名字很长的名字"))
    assert len(wide.text) <= 6, "these letters are wider"


@given(
    st.lists(
        st.tuples(st.floats(-100, 20), st.floats(0, 50) | st.none(), st.floats(-30, 60)),
        max_size=12,
    )
)
def test_nothing_is_drawn_outside_or_over_another(leases):
    found = bars_of(
        *(
            tenure(begin, None if lasts is None else begin + lasts, f"u{number}", ends)
            for number, (begin, lasts, ends) in enumerate(leases)
        )
    )
    for bar in found:
        assert LEFT - 0.1 <= bar.x and bar.x + bar.width <= WIDTH + 0.1
        assert 0 <= bar.y and bar.y + bar.height <= 30 and bar.width > 0


def test_times_of_trouble_and_now_are_marked():
    ill = [Span("healthy", SINCE, NOW - HOUR), Span("missing", NOW - HOUR, NOW)]
    found = time_line(["GPU-a"], [], {"GPU-a": ill}, SINCE, UNTIL, NOW)
    (trouble,) = found.rows[0].troubles
    assert trouble.state == "missing" and trouble.x + trouble.width == found.now
    assert time_line(["GPU-a"], [], {}, SINCE, UNTIL, UNTIL + HOUR).now is None


def test_the_ledger_tells_what_has_a_part_in_the_period(world):
    ledger = world.ledger
    world.stop_server("ada", "")
    at = now() - timedelta(days=3)
    for user, began, lasted in (("ada", 0, 10), ("bob", 20, None)):
        world.run_server(user, at=at + began * HOUR, term=timedelta(hours=100))
        if lasted is not None:
            ledger.end(ledger.lease_of(user, "").id, "done", at + (began + lasted) * HOUR)

    def told(since: float, until: float, limit: int = 9, user: str | None = None):
        found = ledger.tenures(UUIDS, at + since * HOUR, at + until * HOUR, limit, user)
        return [(each.user, each.end is None) for each in found]

    assert told(-5, 0) == []
    assert told(-5, 5) == told(5, 6) == [("ada", False)]
    assert told(10, 20) == [], "it ended just then, and the other began just after"
    assert told(5, 25) == [("bob", True), ("ada", False)], "the latest first"
    assert told(5, 25, limit=1) == [("bob", True)]
    assert told(5, 25, user="ada") == [("ada", False)]
    assert ledger.tenures(["GPU-none"], at, at + 99 * HOUR, 9) == ()
    (live,) = ledger.tenures(UUIDS, at + 30 * HOUR, at + 31 * HOUR, 9)
    assert live.expires_at == at + 120 * HOUR


def test_a_device_given_back_early_has_its_own_end(world):
    """A server that comes back from a reset with fewer devices."""
    ledger = world.ledger
    world.stop_server("ada", "")
    world.run_server("ada", gpus=2)
    lease = ledger.lease_of("ada", "")
    ledger.hold(lease.id, now() + HOUR, now())
    ledger.mark_gone(lease.id, now())
    ledger.acquire(Request("ada", "", 1), lambda _snapshot: None, now())
    found = {
        each.device_uuid: each.end
        for each in ledger.tenures(UUIDS, now() - HOUR, now() + HOUR, 9)
        if each.lease_id == lease.id
    }
    assert len(found) == 2 and sum(end is None for end in found.values()) == 1


def test_leases_of_a_period_over_rest(ask, world):
    world.stop_server("ada", "")
    world.run_server("bob")
    path = "api/v1/leases?include_ended=1&"

    def users(**query: str) -> list[str]:
        found = ask("GET", path, "admin-token", params=query).json()["leases"]
        return [each["user"] for each in found]

    assert users() == ["bob", "ada"]
    later = (now() + HOUR).isoformat()
    assert users(since=later) == ["bob"], "who has not ended will not have by then"
    assert users(until=(now() - HOUR).isoformat()) == []
    assert users(since=(now() - HOUR).isoformat(), until=later) == ["bob", "ada"]
    assert ask("GET", path + "since=yesterday", "admin-token").status_code == 400


def test_the_page_is_for_those_who_may_see_all_leases(ask):
    for token, status in (("ada-token", 403), ("instructor-token", 403), ("admin-token", 200)):
        assert ask("GET", "leases", token).status_code == status


def test_the_page_has_picture_and_table(ask, world):
    world.run_server("bob", term=timedelta(hours=2))
    page = ask("GET", "leases", "admin-token").text
    assert page.count('class="lease live"') == 2 and page.count('class="lease expected"') == 1
    assert page.count("data-row") == 2 and "extend-dialog" in page
    of_ada = ask("GET", "leases?user=ada", "admin-token").text
    assert of_ada.count('class="lease live"') == of_ada.count("data-row") == 1
    of_device = ask("GET", f"leases?device={UUIDS[1]}&days=7", "admin-token").text
    assert of_device.count('class="ground"') == of_device.count("data-row") == 1
    nobody = ask("GET", "leases?user=%3Cb%3E", "admin-token").text
    assert "There were no leases in this period." in nobody and "<b>" not in nobody
    chinese = ask("GET", "leases", "admin-token", headers={"Accept-Language": "zh-CN"}).text
    assert "时间线" in chinese


def test_who_reads_only_is_offered_no_changes(ask):
    ask.tokens["reader"] = {
        "kind": "service",
        "name": "reader",
        "scopes": ["access:services", "custom:gpucamp:leases:read"],
    }
    page = ask("GET", "leases", "reader")
    assert page.status_code == 200 and "extend-dialog" not in page.text


@pytest.mark.parametrize(
    "query",
    [
        *("days=2", "days=", "page=0", "page=x", "page=99999", "page=²"),
        *("until=now", "until=2026-01-01", "until=0001-01-01T00:00:00Z", "until=9999-12-31T23:59Z"),
        *("after=x", "after=~", "after=9999-12-31T23:59:59Z~a"),
    ],
)
def test_what_is_no_period_and_no_page_is_refused(ask, query):
    assert ask("GET", f"leases?{query}", "admin-token").status_code == 400


def test_turning_pages_back_tells_every_lease_once(ask, world, monkeypatch):
    monkeypatch.setattr("hub_ext.service.pages_leases.LEASES", 3)
    world.stop_server("ada", "")
    for number in range(7):
        world.run_server(f"user-{number}")
        world.stop_server(f"user-{number}", "")
    path, seen = "leases", []
    while path:
        page = ask("GET", path, "admin-token").text
        seen += re.findall(r'id="lease-\w+" href="[^"]*/users/([\w-]+)/server"', page)
        older = re.search(r'href="([^"]+)">Earlier leases', page)
        path = "leases" + older[1].replace("&amp;", "&") if older else ""
    assert seen == [f"user-{number}" for number in reversed(range(7))] + ["ada"]


def test_going_back_in_time_and_forward_again(ask):
    page = ask("GET", "leases", "admin-token").text
    back = re.search(r'href="([^"]+)">Earlier<', page)[1].replace("&amp;", "&")
    before = ask("GET", "leases" + back, "admin-token").text
    assert "There were no leases in this period." in before and 'class="now"' not in before
    assert re.search(r'href="\?">Now<', before) or re.search(r">Now<", before)
    again = re.search(r'href="([^"]*)">Now<', before)[1].replace("&amp;", "&")
    assert "data-row" in ask("GET", "leases" + again, "admin-token").text


def test_devices_come_in_pages(ask, monkeypatch):
    monkeypatch.setattr("hub_ext.service.pages_leases.DEVICES", 1)
    page = ask("GET", "leases", "admin-token").text
    assert page.count('class="ground"') == 1 and "page 1 of 2" in page
    onward = re.search(r'href="([^"]+)">More devices', page)[1].replace("&amp;", "&")
    second = ask("GET", "leases" + onward, "admin-token").text
    assert second.count('class="ground"') == 1 and "More devices" not in second
    assert ask("GET", "leases?page=9", "admin-token").status_code == 200
