"""How DDP runs ended, as servers tell it: what counts, how often, and who may say so."""

from __future__ import annotations

import pytest
from service_server import expand
from test_service_metrics import scrape, value

from hub_ext import scopes
from hub_ext.service import counters, ddp_endings
from hub_ext.service.ddp_endings import MOST, WINDOW, DdpEndings
from server_ext.ddp import runs
from server_ext.ddp.launch_request import RUN_ID

TELL = "api/v1/users/ada/server/ddp/ended"
RUN = "20260131-120000-0a1b2c"


def run(number: int) -> str:
    return f"20260131-120000-{number:06x}"


def counted(ask, ending: str) -> float:
    return value(scrape(ask), "gpucamp_ddp_runs_total", ending=ending)


def test_a_run_counts_once(ask) -> None:
    before = counted(ask, "failed")
    told = {"run": RUN, "ending": "failed"}
    for expected in (True, False, False):
        answer = ask("POST", TELL, "ada-server-token", json=told)
        assert (answer.status_code, answer.json()) == (200, {"counted": expected})
    assert counted(ask, "failed") == before + 1


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
def test_who_may_tell(ask, token: str | None, status: int) -> None:
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
    answer = ask("POST", TELL, token, json={"run": RUN, "ending": "stopped"})
    assert answer.status_code == status
    assert counted(ask, "stopped") - before == (status == 200)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"run": RUN},
        {"run": RUN, "ending": "exploded"},
        {"run": RUN, "ending": "failed\n"},
        {"run": RUN, "ending": ["failed"]},
        {"run": "../" + RUN, "ending": "failed"},
        {"run": 7, "ending": "failed"},
        {"run": RUN, "ending": "failed", "script": "train.py"},
    ],
)
def test_nothing_else_is_taken(ask, body: dict) -> None:
    assert ask("POST", TELL, "ada-server-token", json=body).status_code == 400


def test_a_server_that_does_not_run_tells_nothing(ask, world) -> None:
    world.stop_server("ada", "")
    told = {"run": RUN, "ending": "lost"}
    assert ask("POST", TELL, "ada-server-token", json=told).status_code == 409


def test_a_server_cannot_fill_the_figures() -> None:
    clock = [0.0]
    endings = DdpEndings(lambda: clock[0])
    assert sum(endings.count(("ada", ""), run(n), "failed") for n in range(10 * MOST)) == MOST
    assert endings.count(("bob", ""), run(1), "failed")  # the same number is another's run
    clock[0] = WINDOW + 1
    assert endings.count(("ada", ""), run(10**6), "failed")
    assert set(endings._told) == {("ada", "")}  # what is old is forgotten


def test_both_sides_have_the_same_words() -> None:
    assert set(counters.DDP_ENDINGS) == runs.STATES - runs.ALIVE
    assert ddp_endings.RUN.pattern == RUN_ID.pattern
