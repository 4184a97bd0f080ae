"""Every error below api/ is a problem document (RFC 9457), whoever found it."""

from __future__ import annotations

import logging
import re
import socket
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from service_server import ADA, PREFIX, RunningService, running_service
from service_world import World, make_ledger

from hub_ext.errors import (
    Conflict,
    EngineRefused,
    EngineUnavailable,
    HubRefused,
    HubUnavailable,
    LedgerInUse,
    LedgerUnavailable,
    NotFound,
)
from hub_ext.service import problems
from hub_ext.service.body_limit import DRAINED, MAX_BODY_BYTES
from hub_ext.service.http_errors import STATUS

SERVER = "api/v1/users/ada/server"


@pytest.fixture(scope="module")
def module_ask(tmp_path_factory):
    """For questions that change nothing."""
    ledger = make_ledger(tmp_path_factory.mktemp("problems"))
    world = World(ledger)
    world.run_server("ada")
    with running_service(world) as running:
        yield running
    ledger.close()


def told(answer: requests.Response, status: int, kind: str = "") -> dict[str, Any]:
    """The problem document of an answer, whose form is checked."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert set(body) - {"instance"} == {"type", "title", "status", "detail"}
    assert body["status"] == status
    assert body["title"] and body["detail"]
    assert body["type"] == (f"{PREFIX}docs/api#{kind}" if kind else "about:blank")
    return body


@pytest.mark.parametrize(
    ("method", "path", "token", "status"),
    [
        ("GET", SERVER, None, 401),
        ("GET", SERVER, "nonsense", 401),
        ("PUT", SERVER, None, 401),
        ("GET", SERVER, "stranger-token", 403),
        ("GET", "api/v1/devices", ADA, 403),
        ("GET", "api/v1/users/bob/server", ADA, 404),
        ("GET", "api/v1/users/a%2Fb/server", ADA, 404),
        ("GET", "api/v1/users/%E8%89%BE%E8%BE%BE/server", ADA, 404),
        ("GET", "api/v1/users/ada/servers/%E8%89%BE", ADA, 404),
        ("GET", "api/v1/users/%FF/server", ADA, 400),
        ("GET", "api/v1/users/ada/server?x=%FF", ADA, 400),
        ("GET", "api/v1/leases?limit=x", "admin-token", 400),
        ("GET", "api", ADA, 404),
        ("GET", "api/", ADA, 404),
        ("GET", "api/v1", ADA, 404),
        ("GET", "api/v2/users/ada/server", ADA, 404),
        ("DELETE", "api/v1/nothing", ADA, 404),
        ("POST", "api/v1/users/ada/server/", ADA, 404),
        ("DELETE", SERVER, ADA, 405),
        ("POST", SERVER, ADA, 405),
        ("GET", f"{SERVER}/reset", ADA, 405),
        ("BREW", SERVER, ADA, 405),
        ("POST", f"{SERVER}/queue/leave?x=1", ADA, 400),
    ],
)
def test_an_error_is_a_problem_document(module_ask, method, path, token, status):
    told(module_ask(method, path, token), status)


def test_405_says_what_is_allowed(module_ask):
    assert module_ask("PUT", SERVER).headers["Allow"] == "GET"
    assert module_ask("GET", f"{SERVER}/reset").headers["Allow"] == "POST"


def test_401_says_how(module_ask):
    assert module_ask("GET", SERVER, None).headers["WWW-Authenticate"] == "Bearer"


def test_a_head_has_the_status_and_no_body(module_ask):
    answer = module_ask("HEAD", "api/v1/nothing")
    assert (answer.status_code, answer.content) == (404, b"")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data; boundary=x", b"--x\r\nbroken"),
        ("multipart/form-data", b"--x\r\n"),
        ("application/x-www-form-urlencoded", b"%FF=1"),
        ("application/json", b"{"),
        ("application/json", b"\xff\xfe"),
        ("text/plain; charset=nonsense", b"[1]"),
    ],
)
def test_a_body_of_another_form_is_refused(module_ask, content_type, body):
    answer = module_ask(
        "POST", f"{SERVER}/reset", data=body, headers={"Content-Type": content_type}
    )
    told(answer, 400)
    assert module_ask.world.ledger.operation_of("ada", "") is None


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_title_and_detail_are_in_the_readers_language(module_ask, language):
    answer = module_ask("GET", "api/v1/nothing", headers={"Accept-Language": language})
    body = told(answer, 404)
    assert body["title"].isascii() == body["detail"].isascii() == (language == "en")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (Conflict("no"), 409, ""),
        (NotFound("no"), 404, ""),
        (HubRefused("no"), 502, "hub-refused"),
        (EngineRefused("no"), 502, "engine-refused"),
        (HubUnavailable("no"), 503, "hub-unavailable"),
        (LedgerUnavailable("no"), 503, "ledger-unavailable"),
        (LedgerInUse("no"), 503, "ledger-unavailable"),
        (EngineUnavailable("no"), 503, "engine-unavailable"),
    ],
)
def test_a_program_can_tell_what_is_away(ask, world, monkeypatch, error, status, kind):
    def broken(*_args: object) -> None:
        raise error

    monkeypatch.setattr(world.ledger, "lease_of", broken)
    told(ask("POST", f"{SERVER}/lease/extend"), status, kind)


def test_every_error_that_depends_on_others_has_a_kind():
    for error, status in STATUS:
        made = error.__new__(error)
        assert (problems.kind_of(made) is not None) == (status in (422, 502, 503)), error


def test_openapi_names_every_kind():
    document = yaml.safe_load((Path(problems.__file__).parent / "openapi.yaml").read_text())
    said = document["components"]["schemas"]["Problem"]["properties"]["type"]["description"]
    assert set(re.findall(r"#([a-z-]+)", said)) == set(problems.KINDS)


def test_an_unexpected_error_is_found_in_the_log_by_its_instance(ask, world, monkeypatch, caplog):
    def broken(*_args: object) -> None:
        raise RuntimeError("inside")

    monkeypatch.setattr(world.ledger, "environment", broken)
    with caplog.at_level(logging.ERROR):
        body = told(ask("GET", SERVER), 500)
    assert body["instance"].startswith("urn:uuid:")
    assert body["instance"] in caplog.text
    assert "instance" not in told(ask("GET", "api/v1/nothing"), 404)


# -- bodies that are too large


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 2 * 2**20])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_a_problem_and_changes_nothing(ask, world, size, chunked):
    body = b'{"reason": "' + b"x" * size + b'"}'
    data: Any = (body[n : n + 10000] for n in range(0, len(body), 10000)) if chunked else body
    told(ask("POST", f"{SERVER}/reset", data=data), 413)
    told(ask("POST", f"{SERVER}/reset", None, data=body, headers={"Accept-Language": "zh"}), 413)
    assert world.ledger.operation_of("ada", "") is None


def test_a_body_at_the_limit_is_read(module_ask):
    told(module_ask("POST", f"{SERVER}/reset", data=b" " * MAX_BODY_BYTES), 400)


def said_at_once(ask: RunningService, headers: str, body: bytes = b"") -> bytes:
    """What the service says to a request of which no more than `body` comes."""
    with socket.create_connection(("127.0.0.1", ask.port), timeout=20) as connection:
        connection.sendall(
            f"POST {PREFIX}{SERVER}/reset HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n".encode() + body
        )
        said = b""
        while part := connection.recv(65536):
            said += part
    return said


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (f"Content-Length: {DRAINED + 1}", b""),
        ("Content-Length: 99999999999999999", b"x"),
        (f"Content-Length: {MAX_BODY_BYTES + 1}\r\nExpect: 100-continue", b""),
    ],
)
def test_what_is_far_too_large_is_not_waited_for(module_ask, headers, body):
    said = said_at_once(module_ask, headers, body)
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in said and said.count(b"HTTP/1.1") == 1


def test_the_service_goes_on_after_a_large_body_that_breaks_off(module_ask):
    with socket.create_connection(("127.0.0.1", module_ask.port), timeout=20) as connection:
        connection.sendall(
            f"POST {PREFIX}{SERVER}/reset HTTP/1.1\r\nHost: x\r\nContent-Length: {2**20}\r\n\r\n"
            "part".encode()
        )
    assert module_ask("GET", SERVER).status_code == 200
