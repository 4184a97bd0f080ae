"""Lists over REST: filters, and pages that neither hide nor repeat anything."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from service_server import RunningService, running_service
from service_world import UUIDS, World, first_free, make_ledger, now

from hub_ext.ledger.searches import AuditSearch
from hub_ext.models import Request

HOUR = timedelta(hours=1)
LISTS = {
    "devices": ["state=sick", "free=yes", "user=ada"],
    "leases": ["include_ended=yes", "state=gone", "before=2026-01-01T00:00:00Z"],
    "queue": ["state=held", "position=1"],
    "audit": ["since=yesterday", "until=2026-01-01T00:00:00", "before=5", "at=1"],
    "servers": ["state=ended", "verdict=blocked"],
    "groups": ["name=x"],
    "users": ["user=ada", "limit=101"],
}
OF_ALL = [
    "limit=0", "limit=501", "limit=-1", "limit=x", "limit=%C2%B2", "limit=9999999999999", "limit=",
    "cursor=", "cursor=x", "cursor=%00", "cursor=" + "A" * 2000, "limit=1&limit=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def module_ask(tmp_path_factory):
    """For questions that change nothing."""
    ledger = make_ledger(tmp_path_factory.mktemp("lists"))
    world = World(ledger)
    world.run_server("ada", groups=("class-1",))
    world.users |= {f"u{number}": (f"class-{number}",) for number in range(4)}
    with running_service(world) as running:
        yield running
    ledger.close()


def page(ask: RunningService, name: str, query: str = "") -> dict[str, Any]:
    answer = ask("GET", f"api/v1/{name}?{query}", "admin-token")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert set(body) == {name, "next"}
    return body


def pages(ask: RunningService, name: str, query: str, limit: int, between=lambda: None) -> list:
    """All rows, turned page by page."""
    rows, cursor = [], ""
    while True:
        found = page(ask, name, f"{query}&limit={limit}{cursor}".lstrip("&"))
        assert len(found[name]) <= limit
        rows += found[name]
        if found["next"] is None:
            return rows
        assert len(found[name]) == limit, "only the last page is shorter"
        cursor = f"&cursor={quote(found['next'])}"
        between()


def end_some(world: World, count: int, *, at_once: int = 1) -> None:
    """`count` leases that were granted ten hours ago and later, `at_once` in the same moment."""
    began = now() - 10 * HOUR
    for number in range(count):
        at = began + timedelta(seconds=number // at_once)
        groups = ("class-1", 'a", "b') if number % 2 else ("class-10", "班")
        lease = world.ledger.acquire(Request(f"u{number}", "", 0, groups=groups), first_free(0), at)
        world.ledger.end(lease.id, "stopped", at + HOUR)


@pytest.mark.parametrize(
    ("name", "query"), [(name, each) for name in LISTS for each in (*LISTS[name], *OF_ALL)]
)
def test_a_query_out_of_bounds_is_refused(module_ask, name, query):
    answer = module_ask("GET", f"api/v1/{name}?{query}", "admin-token")
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("limit", [1, 3, 11, 12])
def test_leases_come_in_pages_the_latest_grant_first(world, ask, at_once, limit):
    end_some(world, 11, at_once=at_once)
    began = []

    def another() -> None:
        """What comes meanwhile is not told; what ends meanwhile is told still."""
        began.append(world.ledger.acquire(Request(f"new{len(began)}", "", 0), first_free(0), now()))
        world.stop_server("ada", "")

    rows = pages(ask, "leases", "include_ended=1", limit, another)
    assert [row["user"] for row in rows][0] == "ada"
    assert sorted(row["user"] for row in rows) == sorted(["ada", *(f"u{n}" for n in range(11))])
    assert [row["granted_at"] for row in rows] == sorted(
        (row["granted_at"] for row in rows), reverse=True
    )


@pytest.mark.parametrize(
    ("query", "users"),
    [
        ("", ["ada"]),
        ("state=running", ["ada"]),
        ("state=held", []),
        ("state=ended", ["u3", "u2", "u1", "u0"]),
        ("state=ended&include_ended=0", ["u3", "u2", "u1", "u0"]),
        ("include_ended=1", ["ada", "u3", "u2", "u1", "u0"]),
        ("include_ended=1&user=u1", ["u1"]),
        ("user=u1", []),
        ("include_ended=1&user=U1", []),
        ("include_ended=1&group=class-1", ["u3", "u1"]),
        ("include_ended=1&group=class", []),
        ("include_ended=1&group=lass-1", []),
        ("include_ended=1&group=CLASS-1", []),
        ("include_ended=1&group=class-10", ["u2", "u0"]),
        ("include_ended=1&group=" + quote("班"), ["u2", "u0"]),
        ("include_ended=1&group=" + quote('a", "b'), ["u3", "u1"]),
        ("include_ended=1&group=b", []),
        ("include_ended=1&group=a", []),
        ("include_ended=1&group=%25", []),
        ("include_ended=1&group=", []),
        ("include_ended=1&user=%00%C2%86%F0%9F%92%A5", []),
        (f"include_ended=1&device={UUIDS[0]}", ["ada"]),
        (f"include_ended=1&device={UUIDS[1]}", []),
        (f"state=running&device={UUIDS[0]}&user=ada", ["ada"]),
    ],
)
def test_leases_are_filtered(world, ask, query, users):
    end_some(world, 4)
    assert [row["user"] for row in page(ask, "leases", query)["leases"]] == users
    assert [row["user"] for row in pages(ask, "leases", query, 1)] == users


def test_the_audit_trail_comes_in_pages_and_no_line_twice(world, ask):
    end_some(world, 4)
    expected = [
        (line.number, line.action, line.lease_id) for line in reversed(world.ledger.audit_trail())
    ]
    assert len(expected) > 6
    rows = pages(ask, "audit", "", 3, lambda: world.ledger.begin_run(f"run {now()}", now()))
    assert [(row["number"], row["action"], row["lease"]) for row in rows] == expected


def test_the_audit_trail_is_filtered(world, ask):
    end_some(world, 3)
    ask("POST", f"api/v1/devices/{UUIDS[1]}/cordon", "admin-token")
    lease = world.ledger.leases(include_ended=True)[0]
    found = page(ask, "audit", f"lease={lease.id}")["audit"]
    assert [line["action"] for line in found] == ["end", "grant"]
    assert found[0]["detail"] and found[0]["at"].endswith("+00:00")
    assert page(ask, "audit", "lease=none") == {"audit": [], "next": None}
    assert [line["action"] for line in page(ask, "audit", "actor=root")["audit"]] == ["cordon"]
    assert len(pages(ask, "audit", "action=grant", 2)) == 4
    assert page(ask, "audit", "action=grant&actor=root")["audit"] == []
    about = page(ask, "audit", "user=ada")["audit"]
    assert about and {line["user"] for line in about} == {"ada"}
    assert page(ask, "audit", "user=root")["audit"] == []


def test_the_audit_trail_of_a_time(world, ask):
    for number in range(12):  # by a clock that is set back by half an hour now and then
        at = now() + HOUR + timedelta(minutes=40 * number - 30 * (number % 3 == 2))
        world.ledger.begin_run(f"run {number}", at)
    trail = world.ledger.audit_trail()
    times = sorted({line.at for line in trail})
    for since in (None, *times):
        for until in (None, *times):
            wanted = [
                line.number
                for line in reversed(trail)
                if (since is None or since <= line.at) and (until is None or line.at < until)
            ]
            found = world.ledger.find_audit(AuditSearch(since=since, until=until), 100)
            assert [line.number for line in found] == wanted, (since, until)
    until = quote(times[0].isoformat())
    assert page(ask, "audit", f"until={until}") == {"audit": [], "next": None}
    for edge in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
        for name in ("since", "until"):
            page(ask, "audit", f"{name}={edge}")


def test_the_line_goes_on_where_the_last_page_ended(world, ask):
    for number in range(7):
        world.ledger.enqueue(Request(f"u{number}", "", 2, groups=("class-1",)), now())

    def first_leaves() -> None:
        world.ledger.withdraw(page(ask, "queue", "limit=1")["queue"][0]["user"], "")

    rows = pages(ask, "queue", "", 2)
    assert [row["user"] for row in rows] == [f"u{number}" for number in range(7)]
    assert pages(ask, "queue", "group=class-1", 3) == rows
    assert [row["user"] for row in page(ask, "queue", "user=u5")["queue"]] == ["u5"]
    assert page(ask, "queue", "group=class-2")["queue"] == []
    rows = pages(ask, "queue", "", 2, first_leaves)
    assert [row["user"] for row in rows] == [f"u{number}" for number in range(7)]


def test_whoever_was_last_on_a_page_may_leave_the_line(world, ask):
    for number in range(4):
        world.ledger.enqueue(Request(f"u{number}", "", 2), now())
    rows = pages(ask, "queue", "", 2, lambda: world.ledger.withdraw("u1", ""))
    assert [row["user"] for row in rows] == ["u0", "u1", "u2", "u3"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [0, 1]),
        ("free=1", [1]),
        ("free=0", [0]),
        ("state=healthy", [0, 1]),
        ("state=missing", []),
        ("pool=", [0, 1]),
        ("pool=none", []),
        ("free=1&state=healthy&pool=", [1]),
    ],
)
def test_devices_are_filtered(module_ask, query, expected):
    uuids = [UUIDS[number] for number in expected]
    assert [row["uuid"] for row in pages(module_ask, "devices", query, 1)] == uuids
    assert [row["uuid"] for row in page(module_ask, "devices", query)["devices"]] == uuids


@pytest.mark.parametrize(
    ("query", "users"),
    [
        ("", ["ada"]),
        ("user=ada&group=class-1&state=running", ["ada"]),
        ("user=bob", []),
        ("group=class-2", []),
        ("state=held", []),
    ],
)
def test_servers_are_filtered(module_ask, query, users):
    assert [row["user"] for row in page(module_ask, "servers", query)["servers"]] == users


def test_servers_and_groups_come_in_pages(world, ask):
    world.run_server("bob")
    for user in ("u1", "u2"):
        world.run_server(user, gpus=0)
    rows = page(ask, "servers")["servers"]
    assert len(rows) == 4
    assert pages(ask, "servers", "", 1) == pages(ask, "servers", "", 3) == rows
    world.users |= {f"v{number}": (f"class-{number}",) for number in range(4)}
    names = [row["name"] for row in pages(ask, "groups", "", 3)]
    assert names == [f"class-{number}" for number in range(4)]


def test_a_cursor_is_good_for_its_list_and_filters_only(world, ask):
    end_some(world, 3)
    cursor = quote(page(ask, "leases", "include_ended=1&limit=1")["next"])
    assert page(ask, "leases", f"include_ended=1&limit=2&cursor={cursor}")["leases"]
    for path in (
        f"leases?cursor={cursor}",
        f"leases?include_ended=1&user=u1&cursor={cursor}",
        f"leases?include_ended=0&cursor={cursor}",
        f"leases?include_ended=1&cursor={cursor}x",
        f"leases?include_ended=1&cursor=x{cursor[1:]}",
        f"audit?cursor={cursor}",
        f"queue?cursor={cursor}",
    ):
        answer = ask("GET", f"api/v1/{path}", "admin-token")
        assert answer.status_code == 400, path
        assert answer.json()["type"].endswith("#bad-cursor")


def test_a_cursor_gives_no_rights(world, ask):
    end_some(world, 3)
    cursor = quote(page(ask, "leases", "include_ended=1&limit=1")["next"])
    path = f"api/v1/leases?include_ended=1&cursor={cursor}"
    assert ask("GET", path).status_code == 403
    assert ask("GET", path, None).status_code == 401
