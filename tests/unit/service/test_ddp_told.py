"""How DDP runs do, as servers tell it: who may say so, what is kept of it, who sees it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from service_server import expand
from service_world import now
from test_service_metrics import scrape, value

from hub_ext import ddp_runs, scopes
from hub_ext.errors import LedgerUnavailable
from hub_ext.ledger import Ledger
from hub_ext.service.ddp_tellings import CHANGES, MOST, WINDOW, DdpTellings
from server_ext.ddp import runs
from server_ext.ddp.launch_request import RUN_ID
from server_ext.ddp.manager import MAXIMUM_ALIVE

TELL = "api/v1/users/ada/server/ddp/runs"
RUN = "20260131-120000-0a1b2c"
ADA = ("ada", "")


def run(number: int) -> str:
    return f"20260131-120000-{number:06x}"


def told(state: str, **more: Any) -> dict[str, Any]:
    return {"run": RUN, "state": state, "ranks": 2, **more}


def counted(ask, ending: str) -> float:
    return value(scrape(ask), "gpucamp_ddp_runs_total", ending=ending)


def card(ask, user: str = "ada") -> dict[str, Any]:
    cards = ask("GET", "api/v1/class", "instructor-token").json()["servers"]
    return next(each for each in cards if each["user"] == user)


def test_a_run_is_on_the_card_of_its_server_until_the_server_stops(ask, world) -> None:
    assert card(ask)["ddp_runs"] == []
    assert ask("POST", TELL, "ada-server-token", json=told("running")).json() == {"kept": True}
    (shown,) = card(ask)["ddp_runs"]
    assert shown | {"since": ""} == {
        "run": RUN,
        "state": "running",
        "hangs": False,
        "ranks": 2,
        "rank": None,
        "since": "",
    }
    assert (card(ask)["needs"], card(ask)["urgent"]) == ([], False)
    assert ask("POST", TELL, "ada-server-token", json=told("running", hangs=True, rank=1)).ok
    (shown,) = card(ask)["ddp_runs"]
    assert (shown["hangs"], shown["rank"]) == (True, 1)
    assert (card(ask)["needs"], card(ask)["urgent"]) == (["run-hangs"], True)
    page = ask("GET", "class", "instructor-token").text
    assert "DDP, 2 ranks:" in page and "the others wait for rank 1" in page
    assert ask("POST", TELL, "ada-server-token", json=told("failed", rank=1)).ok
    assert (card(ask)["needs"], card(ask)["urgent"]) == (["run-failed"], False)
    chinese = ask("GET", "class", "instructor-token", headers={"Accept-Language": "zh-CN"}).text
    assert "DDP，2 个 rank：" in chinese and "最先是 rank 1" in chinese
    world.stop_server("ada", "")
    world.run_server("ada", gpus=0)
    assert card(ask)["ddp_runs"] == []


def test_what_is_over_stays_as_it_ended_and_counts_once(ask) -> None:
    before = counted(ask, "failed")
    for state, kept in (("failed", True), ("failed", False), ("running", False)):
        answer = ask("POST", TELL, "ada-server-token", json=told(state))
        assert (answer.status_code, answer.json()) == (200, {"kept": kept})
    # as another process of the service, which has not heard of it
    ask.service.ddp_tellings._told.clear()
    for state in ("failed", "succeeded", "running"):
        answer = ask("POST", TELL, "ada-server-token", json=told(state))
        assert answer.json() == {"kept": False}
    assert counted(ask, "failed") == before + 1
    assert [each["state"] for each in card(ask)["ddp_runs"]] == ["failed"]


def test_what_could_not_be_kept_is_taken_when_it_comes_again(ask, monkeypatch) -> None:
    def away(ledger: Ledger, told: object) -> bool:
        raise LedgerUnavailable("away")

    before = counted(ask, "lost")
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "keep_ddp_run", away)
        assert ask("POST", TELL, "ada-server-token", json=told("lost")).status_code == 503
    assert ask("POST", TELL, "ada-server-token", json=told("lost")).json() == {"kept": True}
    assert counted(ask, "lost") == before + 1


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (None, 401),
        ("stranger-token", 403),
        ("prometheus-token", 403),
        ("bob-token", 404),
        ("bob-server-token", 404),
        ("ada-token", 200),
        ("admin-token", 200),
    ],
)
def test_who_may_tell(ask, world, token: str | None, status: int) -> None:
    ask.tokens["bob-server-token"] = {
        "kind": "user",
        "name": "bob",
        "scopes": expand(scopes.SERVER_TOKEN_SCOPES, "bob"),
    }
    ask.tokens["prometheus-token"] = {
        "kind": "service",
        "name": "prometheus",
        "scopes": list(scopes.PROMETHEUS_SCOPES),
    }
    before = counted(ask, "stopped")
    answer = ask("POST", TELL, token, json=told("stopped"))
    assert answer.status_code == status
    assert counted(ask, "stopped") - before == (status == 200)
    assert len(world.ledger.ddp_runs()) == (status == 200)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"run": RUN},
        {"run": RUN, "state": "failed"},
        told("exploded"),
        told("starting"),
        told("failed\n"),
        told("failed") | {"state": ["failed"]},
        told("failed") | {"run": "../" + RUN},
        told("failed") | {"run": 7},
        told("failed", script="train.py"),
        told("failed") | {"ranks": 0},
        told("failed") | {"ranks": 10**6},
        told("failed", rank=-1),
        told("failed", rank="1"),
        told("running", hangs="yes"),
        told("running", hangs=1),
        told("failed", hangs=True),
    ],
)
def test_nothing_else_is_taken(ask, world, body: dict) -> None:
    assert ask("POST", TELL, "ada-server-token", json=body).status_code == 400
    assert world.ledger.ddp_runs() == {}


def test_a_server_that_does_not_run_tells_nothing(ask, world) -> None:
    world.stop_server("ada", "")
    assert ask("POST", TELL, "ada-server-token", json=told("lost")).status_code == 409
    named = TELL.replace("server/", "servers/none/")
    assert ask("POST", named, json=told("lost")).status_code == 404


def test_a_server_can_fill_neither_the_figures_nor_the_ledger() -> None:
    clock = [0.0]
    tellings = DdpTellings(lambda: clock[0])
    assert sum(tellings.count(ADA, run(n), ended=True) for n in range(10 * MOST)) == MOST
    assert tellings.count(("bob", ""), run(1), ended=True)  # the same number is another's run
    clock[0] = WINDOW + 1
    assert tellings.count(ADA, run(10**6), ended=True)
    assert set(tellings._told) == {ADA}  # what is old is forgotten


def test_a_run_that_changes_all_the_time_is_heard_no_more_but_its_end() -> None:
    tellings = DdpTellings(lambda: 0.0)
    assert sum(tellings.count(ADA, RUN, ended=False) for _ in range(10 * CHANGES)) == CHANGES
    assert tellings.count(ADA, RUN, ended=True)
    assert not tellings.count(ADA, RUN, ended=True)
    assert not tellings.count(ADA, RUN, ended=False)
    tellings.take_back(ADA, RUN)
    assert tellings.count(ADA, RUN, ended=True)


def test_one_that_failed_long_ago_is_no_reason_to_look(ask, world) -> None:
    lease = world.ledger.lease_of("ada", "")
    long_ago = ddp_runs.DdpRun(
        "ada", "", RUN, ddp_runs.RunState.FAILED, 2, now() - timedelta(hours=1), lease_id=lease.id
    )
    assert world.ledger.keep_ddp_run(long_ago)
    assert card(ask)["needs"] == []
    assert [each["state"] for each in card(ask)["ddp_runs"]] == ["failed"]


def test_both_sides_have_the_same_words() -> None:
    assert set(ddp_runs.ENDINGS) == runs.STATES - runs.ALIVE
    assert set(ddp_runs.RunState) == runs.STATES - {runs.STARTING}
    assert ddp_runs.RUN.pattern == RUN_ID.pattern
    assert ddp_runs.MOST_ALIVE == MAXIMUM_ALIVE
