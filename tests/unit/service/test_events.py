"""Events: who sees what, nothing lost or told twice, and streams that end when they must."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest
import requests
from service_world import UUIDS

from hub_ext import scopes
from hub_ext.audit_actions import Action
from hub_ext.ledger import audit
from hub_ext.models import Cordon, GroupAction, NoticeKind
from hub_ext.service import api_events, event_feed

EVENTS = "api/v1/events"
TOKENS = {"ada": "ada-token", "bob": "bob-token", "kim": "instructor-token", "root": "admin-token"}


def now():
    return datetime.now(UTC)


class Stream:
    """A reader in a thread; `events` are (id, event, data)."""

    def __init__(self, ask, token="admin-token", after=None, last=None):  # noqa: S107
        headers = {"Authorization": f"token {token}", "Accept": "text/event-stream"}
        if last is not None:
            headers["Last-Event-ID"] = str(last)
        query = "" if after is None else f"?after={after}"
        self.answer = requests.get(
            f"{ask.url}{EVENTS}{query}", headers=headers, stream=True, timeout=(5, 60)
        )
        self.socket = self.answer.raw._fp.fp.raw._sock
        self.events = []
        self.last = None
        self.ended = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        found = {}
        try:
            for line in self.answer.iter_lines(chunk_size=1, decode_unicode=True):
                name, colon, value = line.partition(": ")
                if line and colon:
                    found[name] = value
                elif not line:
                    if "id" in found:
                        self.last = int(found["id"])
                    if "data" in found:
                        self.events.append(
                            (self.last, found.get("event", ""), json.loads(found["data"]))
                        )
                    found = {}
        except (requests.RequestException, AttributeError, ValueError):
            pass
        finally:
            self.ended.set()

    def actions(self):
        return [data["action"] for _id, event, data in self.events if not event]

    def close(self):
        # a plain close waits for the thread that reads
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


def until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def stream(ask, *args, **kwargs):
    """A stream that is up: it says where it stands, or something else, at once."""
    found = Stream(ask, *args, **kwargs)
    try:
        if found.answer.status_code == 200:
            until(lambda: found.last is not None)
        yield found
    finally:
        found.close()


def numbers(world, after=0):
    return [line.number for line in world.ledger.audit_trail() if line.number > after]


def test_a_stream_tells_what_happens_from_now_on(world, ask):
    with stream(ask) as found:
        assert found.answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert found.last == numbers(world)[-1]
        world.ledger.cordon(UUIDS[0], Cordon.CORDONED, "new\nfan é", now(), actor="root")
        until(lambda: found.events)
        (number, event, data) = found.events[0]
        assert (number, event) == (data["number"], "") and number == numbers(world)[-1]
        assert (data["action"], data["actor"], data["device"], data["reason"]) == (
            "cordon",
            "root",
            UUIDS[0],
            "new\nfan é",
        )


@pytest.mark.parametrize("how", ["after", "last"])
def test_a_stream_goes_on_after_the_last_id(world, ask, how):
    known = numbers(world)[0]
    with stream(ask, **{how: known}) as found:
        until(lambda: len(found.events) == len(numbers(world, known)))
        world.ledger.begin_run("another", now())
        until(lambda: found.actions()[-1] == "hub run")
        assert [each[0] for each in found.events] == numbers(world, known)


def test_more_than_is_told_at_once_or_kept_comes_whole(world, ask, monkeypatch):
    monkeypatch.setattr(event_feed, "AT_ONCE", 7)
    monkeypatch.setattr(event_feed, "KEPT", 10)
    with stream(ask, after=0) as early:
        for index in range(40):
            world.ledger.begin_run(f"run {index}", now())
        until(lambda: len(early.events) == len(numbers(world)))
        with stream(ask, after=0) as late:
            until(lambda: len(late.events) == len(numbers(world)))
            assert [e[0] for e in early.events] == [e[0] for e in late.events] == numbers(world)


def test_everybody_sees_what_they_may_and_no_more(world, ask):
    world.users |= {"bob": ("class-1",), "eve": ("class-2",)}
    ask.tokens["teacher"] = {
        "kind": "user",
        "name": "lee",
        "groups": [],
        "scopes": [scopes.ACCESS_SERVICE, f"{scopes.ENVIRONMENT_READ}!group=class-1"],
    }
    ask.tokens["monitor"] = {
        "kind": "service",
        "name": "grafana",
        "scopes": [scopes.ACCESS_SERVICE, scopes.DEVICES_READ],
    }
    tokens = {**TOKENS, "lee": "teacher", "monitor": "monitor", "adas server": "ada-server-token"}
    start = numbers(world)[-1]
    streams = {name: Stream(ask, token, after=start) for name, token in tokens.items()}
    ledger = world.ledger
    for user, server in (("ada", ""), ("ada", "second"), ("bob", ""), ("eve", "")):
        ledger.notify(user, server, NoticeKind.LEASE_EXPIRED, {}, now())
    ledger.begin_group_operation(
        GroupAction.RESET, "class-1", ("bob",), requested_by="lee", reason="x", now=now()
    )
    ledger.begin_group_operation(
        GroupAction.RESET, "class-2", ("eve",), requested_by="kim", reason="x", now=now()
    )
    ledger.cordon(UUIDS[0], Cordon.CORDONED, "x", now(), actor="root")
    ledger.begin_run("the last", now())
    until(lambda: "hub run" in streams["root"].actions())

    def seen(name):
        return sorted(
            (d["user"] + "/" + d["server"] if d["user"] else d["group"] or d["device"])
            for _id, event, d in streams[name].events
        )

    groups, servers = ["class-1", "class-2"], ["ada/", "ada/second", "bob/", "eve/"]
    expected = {
        "root": sorted(["", UUIDS[0], *groups, *servers]),
        "kim": sorted([*groups, *servers]),
        "ada": ["ada/", "ada/second"],
        "bob": ["bob/"],
        "lee": ["bob/", "class-1"],
        "monitor": [UUIDS[0]],
        "adas server": ["ada/"],
    }
    for name, sought in expected.items():
        until(lambda name=name, sought=sought: len(seen(name)) >= len(sought))
    time.sleep(0.3)  # for one too many
    assert {name: seen(name) for name in streams} == expected
    for name, token in tokens.items():
        page = ask("GET", f"{EVENTS}?after={start}", token).json()
        assert [e["number"] for e in page["events"]] == [e[0] for e in streams[name].events]
        streams[name].close()


def test_what_was_deleted_is_a_gap_and_nothing_else_is(world, ask, monkeypatch):
    ledger = world.ledger
    before = numbers(world)
    old = datetime.now(UTC) + timedelta(hours=1)
    ledger.prune(old)
    left = numbers(world)
    assert left and left != before, "the lines of a live lease stay"
    pruned = max(set(before) - set(left))
    page = ask("GET", f"{EVENTS}?after={pruned - 1}", "admin-token").json()
    assert page == {"events": [], "last": max(before), "gap": True}
    page = ask("GET", f"{EVENTS}?after={pruned}", "admin-token").json()
    assert not page["gap"] and [e["number"] for e in page["events"]] == numbers(world, pruned)
    assert ask("GET", f"{EVENTS}?after={before[-1] + 1}", "admin-token").json()["gap"]
    with stream(ask, last=pruned - 1) as found:
        until(lambda: found.events)
        assert found.events[0] == (max(before), "gap", {})
        ledger.begin_run("another", now())
        until(lambda: found.actions() == ["hub run"])


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "9" * 20, "٣"])
def test_an_id_that_is_none_is_refused(ask, value):
    headers = {"Last-Event-ID": value.encode(), "Accept": "text/event-stream"}
    assert ask("GET", EVENTS, "admin-token", headers=headers).status_code == 400
    assert ask("GET", EVENTS, "admin-token", params={"after": value}).status_code == 400


def test_a_stream_needs_a_known_caller(ask):
    headers = {"Accept": "text/event-stream"}
    for token, status in ((None, 401), ("stranger-token", 403)):
        assert ask("GET", EVENTS, token, headers=headers).status_code == status


@pytest.mark.parametrize("loss", ["token", "access", "hub"])
def test_a_stream_ends_with_the_rights_of_its_caller(world, ask, loss):
    with stream(ask, "ada-token") as found:
        if loss == "token":
            del ask.tokens["ada-token"]
        elif loss == "access":
            ask.tokens["ada-token"] = {**ask.tokens["ada-token"], "scopes": []}
        else:
            ask.hub_down = True
        deadline = time.monotonic() + 30
        while not found.ended.is_set() and time.monotonic() < deadline:
            world.ledger.begin_run(f"{time.monotonic()}", now())
            time.sleep(0.1)
        assert found.ended.is_set()
    until(lambda: not ask.service.events.streams)


def test_rights_that_are_taken_away_hold_for_what_comes_then(world, ask):
    with stream(ask, "instructor-token") as found:
        world.ledger.notify("bob", "", NoticeKind.LEASE_EXPIRED, {}, now())
        until(lambda: found.events)
        ask.tokens["instructor-token"] = {
            **ask.tokens["instructor-token"],
            "scopes": [scopes.ACCESS_SERVICE],
        }
        time.sleep(2.5)  # JupyterHub's word is believed for a second here
        world.ledger.begin_run("wakes it", now())  # and it is asked again then
        time.sleep(0.5)
        world.ledger.notify("bob", "", NoticeKind.LEASE_EXPIRED, {}, now())
        time.sleep(0.5)
        assert len(found.events) == 1


def test_one_question_for_all_listeners_and_none_without(world, ask, monkeypatch):
    asked = []
    real = type(world.ledger).audit_after
    monkeypatch.setattr(
        type(world.ledger),
        "audit_after",
        lambda self, *args: asked.append(args) or real(self, *args),
    )
    found = [Stream(ask, token) for token in (*TOKENS.values(), *TOKENS.values())]
    until(lambda: all(each.last is not None for each in found))
    time.sleep(0.2)
    asked.clear()
    begun = time.monotonic()
    time.sleep(1)
    assert 1 <= len(asked) <= (time.monotonic() - begun) / 0.05 + 2
    for each in found:
        each.close()
    until(lambda: not ask.service.events.streams)
    time.sleep(0.3)
    asked.clear()
    time.sleep(0.5)
    assert asked == []


def test_nobody_has_more_than_some_streams(ask, monkeypatch):
    monkeypatch.setattr(api_events, "STREAMS_OF_ONE", 2)
    with stream(ask) as first, stream(ask), stream(ask, "ada-token"):
        headers = {"Accept": "text/event-stream"}
        refused = ask("GET", EVENTS, "admin-token", headers=headers)
        assert refused.status_code == 429
        assert refused.json()["title"] == "Too many requests"
        assert "2 streams of events are open for you already. End one" in refused.json()["detail"]
        first.close()
        until(lambda: ask.service.events.streams["user root"] == 1)
        with stream(ask) as again:
            assert again.answer.status_code == 200


def test_who_reads_nothing_is_cut_off(world, ask, monkeypatch):
    monkeypatch.setattr(api_events, "SEND_SECONDS", 0.5)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", ask.port))
        slow.sendall(
            b"GET /services/gpucamp/api/v1/events?after=0 HTTP/1.1\r\nHost: x\r\n"
            b"Authorization: token admin-token\r\nAccept: text/event-stream\r\n\r\n"
        )
        until(lambda: ask.service.events.streams)
        deadline = time.monotonic() + 60
        while ask.service.events.streams and time.monotonic() < deadline:
            with world.ledger._database.write() as connection:
                for _ in range(200):
                    audit.write(
                        connection,
                        at=now(),
                        actor="root",
                        action=Action.HUB_RUN,
                        detail="x" * 5000,
                    )
        assert not ask.service.events.streams
    assert ask("GET", "api/v1/health").status_code == 200


def test_a_quiet_stream_says_that_it_is_there_and_where(world, ask, monkeypatch):
    monkeypatch.setattr(api_events, "QUIET_SECONDS", 0.3)
    with stream(ask, "ada-token") as found:
        began = found.last
        world.ledger.begin_run("not for ada", now())
        until(lambda: found.last > began)
        assert found.last == numbers(world)[-1] and not found.events


def test_what_happens_to_others_does_not_make_a_stream_silent(world, ask, monkeypatch):
    monkeypatch.setattr(api_events, "QUIET_SECONDS", 0.5)
    with stream(ask, "ada-token") as found:
        began, over = found.last, threading.Event()

        def others():
            while not over.wait(0.05):
                world.ledger.cordon(UUIDS[1], Cordon.CORDONED, str(time.time()), now(), actor="kim")

        writer = threading.Thread(target=others, daemon=True)
        writer.start()
        try:
            until(lambda: found.last > began)
        finally:
            over.set()
            writer.join(10)
        assert not found.events


def test_a_ledger_that_is_away_for_a_while_costs_no_event(world, ask, monkeypatch):
    from hub_ext.errors import LedgerUnavailable

    real = type(world.ledger).audit_after
    away = threading.Event()

    def audit_after(self, *args):
        if away.is_set():
            raise LedgerUnavailable("gone")
        return real(self, *args)

    monkeypatch.setattr(type(world.ledger), "audit_after", audit_after)
    with stream(ask) as found:
        away.set()
        time.sleep(0.3)
        assert ask("GET", EVENTS, "admin-token").status_code == 503
        world.ledger.begin_run("meanwhile", now())
        away.clear()
        until(lambda: found.actions() == ["hub run"])


def test_a_service_that_ends_ends_its_streams(world, ask):
    found = Stream(ask)
    until(lambda: found.last is not None)
    closing = asyncio.run_coroutine_threadsafe(ask.service.events.close(), ask.loop)
    closing.result(10)
    assert found.ended.wait(10)


def test_the_history_of_a_device(world, ask):
    address = f"api/v1/devices/{UUIDS[0]}/history"
    page = ask("GET", address, "admin-token").json()
    assert [each["state"] for each in page["history"]] == ["healthy"] and page["next"] is None
    world.ledger.record_inventory([], now())
    first = ask("GET", f"{address}?limit=1", "admin-token").json()
    assert [each["state"] for each in first["history"]] == ["missing"]
    assert first["history"][0]["reason"]
    rest = ask("GET", address, "admin-token", params={"cursor": first["next"]}).json()
    assert rest == page
    assert ask("GET", address).status_code == 403
    assert ask("GET", "api/v1/devices/GPU-none/history", "admin-token").status_code == 404


@pytest.mark.parametrize(
    ("accept", "stream_is_wanted"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream; q=0.5", True),
        ("application/json, text/event-stream", True),
        ("text/event-stream;q=0", False),
        ("text/event-stream; charset=utf-8; q=0.00, */*", False),
        ("text/event-streams", False),
        ("*/*", False),
        ("", False),
        (";,;=,", False),
    ],
)
def test_a_stream_is_for_who_asks_for_one(accept, stream_is_wanted):
    assert api_events.asks_for_stream(accept) is stream_is_wanted
