"""A request with an Idempotency-Key is done once, however often it comes, and whoever is killed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from datetime import timedelta
from typing import Any

import pytest
import requests
from openapi_contract import SPEC
from service_server import PREFIX, RunningService, running_service
from service_world import UUIDS, World, now

from hub_ext.errors import EngineUnavailable, LedgerUnavailable
from hub_ext.service import idempotency
from hub_ext.service.idempotency import fingerprint, key_of

RESET = "api/v1/users/ada/server/reset"
FAKES = {**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
CORDON = f"api/v1/devices/{UUIDS[1]}/cordon"


def send(
    ask: RunningService, key: str, path: str = CORDON, who: str = "admin-token", **more: Any
) -> requests.Response:
    return ask("POST", path, who, headers={"Idempotency-Key": key}, **more)


def cordons(world: World) -> int:
    return sum(line.action == "cordon" for line in world.ledger.audit_trail())


def kind(answer: requests.Response) -> str:
    return str(answer.json()["type"]).rpartition("#")[2]


def test_the_same_request_gets_the_same_answer_and_is_done_once(ask, world):
    first = send(ask, "k", json={"reason": "new fan"})
    assert "Idempotency-Replayed" not in first.headers
    ask("POST", f"api/v1/devices/{UUIDS[1]}/uncordon", "admin-token")
    again = send(ask, '"k"', json={"reason": "new fan"})
    assert (again.status_code, again.text) == (first.status_code, first.text)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Content-Type"] == first.headers["Content-Type"]
    assert cordons(world) == 1
    assert world.ledger.devices()[1].accepts, "what was done since stays"
    assert send(ask, "other", json={"reason": "new fan"}).status_code == 200
    assert cordons(world) == 2


def test_another_request_with_the_key_is_refused(ask, world):
    send(ask, "k", json={"reason": "new fan"})
    for path, body in (
        (CORDON, {"reason": "old fan"}),
        (CORDON, None),
        (f"api/v1/devices/{UUIDS[0]}/cordon", {"reason": "new fan"}),
        (f"api/v1/devices/{UUIDS[1]}/uncordon", None),
    ):
        answer = send(ask, "k", path, json=body)
        assert (answer.status_code, kind(answer)) == (422, "idempotency-key-reused")
    assert cordons(world) == 1


def test_everybody_has_keys_of_their_own(ask, world):
    world.run_server("bob")
    first = send(ask, "k", RESET, "ada-token")
    assert first.status_code == 202
    other = send(ask, "k", "api/v1/users/bob/server/reset", "bob-token")
    assert other.status_code == 202
    # a key gives no rights: who asks has to be allowed now
    assert send(ask, "k", RESET, "bob-token").status_code == 404
    assert send(ask, "k", RESET, "stranger-token").status_code == 403
    assert send(ask, "k", RESET, None).status_code == 401


def test_an_answer_outlives_the_service(world):
    with running_service(world) as ask:
        first = send(ask, "k", RESET, "ada-token")
        assert first.status_code == 202
    with running_service(world) as ask:
        again = send(ask, "k", RESET, "ada-token")
        assert (again.status_code, again.text) == (202, first.text)


def test_what_was_refused_may_come_again(ask, world, monkeypatch):
    def away(*_args: object, **_more: object) -> None:
        raise EngineUnavailable("no")

    with monkeypatch.context() as patched:
        patched.setattr(world.ledger, "cordon", away)
        assert send(ask, "k").status_code == 503
    assert send(ask, "k", json={"reason": 5}).status_code == 400
    assert send(ask, "k", "api/v1/devices/GPU-none/cordon").status_code == 404
    with monkeypatch.context() as patched:
        patched.setattr(world.ledger, "cordon", lambda *_args, **_more: 1 / 0)
        assert send(ask, "k").status_code == 500
    assert send(ask, "k").status_code == 200
    assert cordons(world) == 1


@pytest.fixture
def slow(world, monkeypatch):
    """A cordon that is done and does not come back until `slow.set()`; `slow.begun` says when."""
    event = threading.Event()
    event.begun = threading.Event()
    cordon = world.ledger.cordon

    def slowly(*args: object, **more: object) -> None:
        cordon(*args, **more)
        event.begun.set()
        event.wait(30)

    monkeypatch.setattr(world.ledger, "cordon", slowly)
    yield event
    event.set()


def test_while_the_first_is_under_way_nothing_is_done_twice(ask, world, slow):
    answers: list[requests.Response] = []
    thread = threading.Thread(target=lambda: answers.append(send(ask, "k")))
    thread.start()
    assert slow.begun.wait(20)
    for _ in range(3):
        answer = send(ask, "k")
        assert (answer.status_code, kind(answer)) == (409, "idempotency-key-in-use")
    answer = send(ask, "k", json={"reason": "other"})
    assert (answer.status_code, kind(answer)) == (422, "idempotency-key-reused")
    slow.set()
    thread.join(20)
    assert answers[0].status_code == 200
    assert send(ask, "k").text == answers[0].text
    assert cordons(world) == 1


def test_of_many_at_once_one_is_done(ask, world):
    answers: list[requests.Response] = []
    threads = [threading.Thread(target=lambda: answers.append(send(ask, "k"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert cordons(world) == 1
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len({answer.text for answer in answers if answer.status_code == 200}) == 1


# serves until it is killed; the change is made, and its answer never comes
KILLED = """
import sys, threading
from service_server import running_service
from service_world import World
from hub_ext.ledger import Ledger

ledger = Ledger(sys.argv[1], actor="test")
cordon = ledger.cordon

def and_hang(*args, **more):
    cordon(*args, **more)
    print("done", flush=True)
    threading.Event().wait()

ledger.cordon = and_hang
with running_service(World(ledger)) as ask:
    print(ask.port, flush=True)
    threading.Event().wait()
"""


def test_after_a_kill_nothing_is_done_again_and_it_is_told(world, tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    command = [sys.executable, "-c", KILLED, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=FAKES) as process:
        try:
            port = int(process.stdout.readline())
            with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                client.sendall(
                    f"POST {PREFIX}{CORDON} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
                    "Authorization: token admin-token\r\nIdempotency-Key: k\r\n\r\n".encode()
                )
                assert process.stdout.readline() == "done\n"
                process.kill()
                assert client.recv(100) == b"", "no answer came"
        finally:
            process.kill()
    assert cordons(world) == 1
    with running_service(world) as ask:
        answer = send(ask, "k")
        assert (answer.status_code, kind(answer)) == (409, "idempotency-outcome-unknown")
        assert cordons(world) == 1
        assert send(ask, "another").status_code == 200


def test_a_key_that_was_left_behind_is_free_a_day_later(ask, world):
    request = fingerprint("POST", f"/services/gpucamp/{CORDON}", b"")
    world.ledger.begin_request("user:root", "k", request, now() - timedelta(hours=23))
    answer = send(ask, "k")
    assert (answer.status_code, kind(answer)) == (409, "idempotency-outcome-unknown")
    world.ledger.begin_request("user:root", "k2", request, now() - timedelta(hours=25))
    assert send(ask, "k2").status_code == 200


def test_a_ledger_that_is_away_at_the_end_loses_no_answer(ask, world, monkeypatch):
    def away(*_args: object) -> None:
        raise LedgerUnavailable("no")

    with monkeypatch.context() as patched:
        patched.setattr(world.ledger, "keep_answer", away)
        assert send(ask, "k").status_code == 200, "it was done, so that is the answer"
    answer = send(ask, "k")
    assert (answer.status_code, kind(answer)) == (409, "idempotency-outcome-unknown")
    assert cordons(world) == 1
    with monkeypatch.context() as patched:
        patched.setattr(world.ledger, "begin_request", away)
        assert send(ask, "k3").status_code == 503
    assert send(ask, "k3").status_code == 200


def test_a_key_of_a_get_means_nothing(ask):
    for _ in range(2):
        answer = ask("GET", "api/v1/health", headers={"Idempotency-Key": ""})
        assert answer.status_code == 200 and "Idempotency-Replayed" not in answer.headers


@pytest.mark.parametrize("header", ["", "a b", "x" * 256, "é", '"', '""', 'a"b', "a\tb"])
def test_a_key_of_another_form_is_refused(ask, world, header):
    assert send(ask, header.encode()).status_code == 400
    assert cordons(world) == 0


def test_a_key_may_have_quotes_around_it():
    assert key_of('"abc"') == key_of("abc") == "abc"
    assert key_of("!" * 255) == "!" * 255


def test_every_post_takes_a_key_and_says_so():
    for path, item in SPEC["paths"].items():
        for verb in ("post", "put", "patch", "delete"):
            if verb in item:
                given = [each.get("$ref", "") for each in item[verb].get("parameters", [])]
                assert "#/components/parameters/idempotencyKey" in given, path
                assert {"409", "422"} <= set(item[verb]["responses"]), path
    assert idempotency.HEADER == SPEC["components"]["parameters"]["idempotencyKey"]["name"]
