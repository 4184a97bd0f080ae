"""Whatever is sent, wherever: the right status, a problem document, and nothing is changed."""

from __future__ import annotations

import http.client
import re
import time

import pytest
from openapi_contract import SPEC
from service_server import PREFIX, RunningService, person, running_service
from service_world import UUIDS, World, make_ledger

from hub_ext import scopes

OPERATIONS = [
    (verb.upper(), path.lstrip("/"))
    for path, item in SPEC["paths"].items()
    for verb in item
    if verb in ("get", "post")
]
WITH_NAMES = [each for each in OPERATIONS if "{" in each[1]]
# percent-encoded, as they come
NAMES = {
    "slash": "a%2Fb",
    "slashes": "%2F%2F",
    "up": "%2E%2E%2Fada",
    "unicode": "%E8%89%BE%E8%BE%BE",
    "emoji": "%F0%9F%92%A5",
    "direction": "%E2%80%AEada",
    "nul": "ada%00",
    "newline": "ada%0A",
    "blank": "%20",
    "percent": "%25%66",
    "long": "x" * 3000,
    "quote": "%27%20OR%201%3D1--",
    "broken": "%FF%FE",
    "number": "0",
}


@pytest.fixture(scope="module")
def module_ask(tmp_path_factory):
    """Nothing is changed by any of these."""
    ledger = make_ledger(tmp_path_factory.mktemp("bad"))
    world = World(ledger)
    world.run_server("ada")
    world.users |= {"bob": ("class-1",)}
    with running_service(world) as running:
        yield running
    ledger.close()


@pytest.fixture
def unchanged(module_ask):
    """Fails if the test changed anything."""
    ledger = module_ask.world.ledger

    def state() -> tuple[object, ...]:
        return (
            ledger.audit_trail(),
            ledger.leases(include_ended=True),
            ledger.queue(),
            ledger.operation_of("ada", ""),
            [record.device.uuid for record in ledger.devices()],
        )

    before = state()
    yield
    assert state() == before


@pytest.mark.parametrize("name", list(NAMES))
@pytest.mark.usefixtures("unchanged")
def test_a_name_that_nobody_has(module_ask, name):
    """All places of all paths."""
    for verb, path in WITH_NAMES:
        for place in re.findall(r"\{(\w+)\}", path):
            address = path.replace(f"{{{place}}}", NAMES[name]).replace("{user}", "ada")
            address = re.sub(r"\{\w+\}", "1", address)
            body = {"reason": "why"} if verb == "POST" else None
            answer = module_ask(verb, address, "admin-token", json=body)
            assert answer.status_code in (400, 404), (verb, address, answer.text)
            assert answer.headers["Content-Type"] == "application/problem+json", address


@pytest.mark.parametrize(
    "body",
    [
        b"null", b"[]", b"0", b'""', b"{", b"}", b"\x00", b"\xff", b'{"reason": 1e999}',
        b'{"minutes": "5"}', b'{"minutes": 5.5}', b'{"minutes": NaN}', b'{"minutes": -1}',
        b'{"minutes": 1e308}', b'{"reason": {}}', b'{"reason": "\\u0000"}',
        b'{"reason": "\\ud800"}', b'{"reason": "\\u202eabc"}', b'{"__proto__": {}}',
        b'{"reason": null}', b'{"reason": "a", "reason": "b"}',
        b'{"reason": "a", "\\u0072eason": "b"}', b'{"reason": "a"} {}',
        '{"reason": "a"}'.encode("utf-16"), '{"reason": "a"}'.encode("utf-32-le"),
        '{"reason": "\u00e9"}'.encode("latin-1"), b"[" * 20000, b'{"a":' * 10000,
        b"1" * 5000,
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unchanged")
def test_a_body_that_nothing_takes(module_ask, body):
    for verb, path in OPERATIONS:
        if verb != "POST":
            continue
        address = path.replace("{device}", UUIDS[0]).replace("{user}", "ada")
        address = re.sub(r"\{\w+\}", "none", address)
        answer = module_ask(verb, address, "admin-token", data=body)
        assert answer.status_code in (400, 404), (address, answer.text)
        assert answer.headers["Content-Type"] == "application/problem+json", address


@pytest.mark.usefixtures("unchanged")
def test_tokens_that_are_of_no_use(module_ask):
    """Made up, of another hub, of a service that may nothing, of somebody without access."""
    module_ask.tokens["other-service"] = {"kind": "service", "name": "x", "scopes": ["read:users"]}
    module_ask.tokens["elsewhere"] = person("mia")
    module_ask.tokens["elsewhere"]["scopes"] = [
        "access:services!service=other",
        *scopes.ADMIN_SCOPES[1:],
    ]
    for verb, path in OPERATIONS:
        address = re.sub(r"\{\w+\}", "ada", path)
        for token, status in (
            ("made-up", 401),
            ("x" * 5000, 401),
            ("other-service", 403),
            ("elsewhere", 403),
        ):
            answer = module_ask(verb, address, token)
            assert answer.status_code == status, (verb, address, token, answer.text)
            assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_token_that_has_expired(ask, world):
    assert ask("GET", "api/v1/users/ada/server").status_code == 200
    del ask.tokens["ada-token"]
    deadline = time.monotonic() + 30
    while (
        ask("GET", "api/v1/users/ada/server").status_code == 200
    ):  # the hub's word is kept a while
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for verb, path in (
        ("GET", "api/v1/users/ada/server"),
        ("POST", "api/v1/users/ada/server/reset"),
    ):
        answer = ask(verb, path)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["title"] == "Not signed in"
    assert world.ledger.operation_of("ada", "") is None


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "X"])
@pytest.mark.usefixtures("unchanged")
def test_a_method_that_is_not_there(module_ask, method):
    for path in SPEC["paths"]:
        address = re.sub(r"\{\w+\}", "1", path.lstrip("/"))
        answer = module_ask(method, address, "admin-token")
        assert answer.status_code in (404, 405), (method, address)
        if answer.status_code == 405 and method != "HEAD":
            assert answer.headers["Content-Type"] == "application/problem+json"
            verbs = {verb.upper() for verb in SPEC["paths"][path] if verb in ("get", "post")}
            assert set(answer.headers["Allow"].split(", ")) == verbs
            assert f"no method but {answer.headers['Allow']}." in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("api/v1/leases?limit=", 500),
        ("api/v1/class?limit=", 500),
        ("api/v1/class?page=", 1_000_000),
        ("api/v1/users/ada?days=", 92),
        ("api/v1/events?after=", 10**11),
    ],
)
@pytest.mark.usefixtures("unchanged")
def test_a_number_that_only_begins_well(module_ask, path, most):
    for text in (
        "000000000001" + "9" * 9,
        "000000000001" + "0" * 5000,
        str(most + 1),
        "9" * 5000,
        "-1",
        "1.0",
        "%D9%A1",
        "",
    ):
        answer = module_ask("GET", path + text, "admin-token")
        assert answer.status_code == 400, (text, answer.text)
        assert f" {most}." in answer.json()["detail"]
    assert module_ask("GET", f"{path}0{min(most, 90)}", "admin-token").status_code == 200


@pytest.mark.parametrize(
    "last", ["0" * 12 + "9" * 20, "0" * 6000, "9" * 5000, str(10**11 + 1), "-1", "1,2", "x", ""]
)
@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
def test_a_last_event_that_nobody_was_told(module_ask, last, accept):
    answer = module_ask(
        "GET", "api/v1/events", "admin-token", headers={"Last-Event-ID": last, "Accept": accept}
    )
    assert answer.status_code == 400, answer.text
    assert answer.json()["detail"].startswith("Last-Event-ID must be")


def as_it_is(ask: RunningService, verb: str, path: str, body: bytes) -> tuple[int, str | None]:
    """Status and type of the answer to a path that a client would tidy up."""
    connection = http.client.HTTPConnection("127.0.0.1", ask.port, timeout=20)
    try:
        headers = {"Authorization": "token admin-token"}
        connection.request(verb, PREFIX + path, body or None, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers["Content-Type"]
    finally:
        connection.close()


@pytest.mark.parametrize("name", [".", "..", "%2E", "%2e%2e"])
@pytest.mark.usefixtures("unchanged")
def test_a_name_that_leads_out_of_a_path_of_the_hub(module_ask, name):
    """The hub would answer about all users, or about itself."""
    for verb, path in WITH_NAMES:
        address = re.sub(r"\{(user|group)\}", name, path)
        address = re.sub(r"\{\w+\}", "1", address)
        status, kind = as_it_is(module_ask, verb, address, b'{"reason": "why"}' * (verb == "POST"))
        assert status in (400, 404), (verb, address)
        assert kind == "application/problem+json"
    for group in (False, True):
        address = f"api/v1/{'groups' if group else 'users'}/{name}/messages"
        assert as_it_is(module_ask, "POST", address, b'{"text": "hello"}')[0] == 404


@pytest.mark.parametrize(
    ("path", "since", "until"),
    [
        ("leases", "2026-02-01T00:00:00Z", "2026-01-31T23:59:59Z"),
        ("audit", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"),
        ("usage", "2026-02-01", "2026-01-31"),
    ],
)
@pytest.mark.usefixtures("unchanged")
def test_a_period_that_ends_before_it_begins_has_nothing_in_it(module_ask, path, since, until):
    query = "include_ended=1&" * (path == "leases")
    answer = module_ask("GET", f"api/v1/{path}?{query}since={since}&until={until}", "admin-token")
    assert (answer.status_code, answer.json()[path]) == (200, [])


@pytest.mark.parametrize("until", ["0001-01-01", "0001-01-03", "9999-12-31"])
def test_a_report_at_the_ends_of_time(module_ask, until):
    answer = module_ask("GET", f"api/v1/usage?until={until}", "admin-token")
    assert answer.status_code == 200
    assert "0001-01-01" <= answer.json()["since"] <= answer.json()["until"] == until


@pytest.mark.parametrize("condition", ["*", '"x"', 'W/"x", "y"', "nonsense", ""])
@pytest.mark.usefixtures("unchanged")
def test_a_change_that_depends_on_an_etag_is_not_made(module_ask, condition):
    """Nothing that is changed has one, so the condition is never met."""
    for verb, path in OPERATIONS:
        if verb != "POST":
            continue
        assert "412" in SPEC["paths"][f"/{path}"]["post"]["responses"]
        address = path.replace("{device}", UUIDS[1]).replace("{user}", "ada")
        address = re.sub(r"\{\w+\}", "none", address)
        headers = {"If-Match": condition, "Idempotency-Key": "k"}
        answer = module_ask(verb, address, "admin-token", json={"reason": "why"}, headers=headers)
        assert answer.status_code in (404, 412), (address, answer.text)
    path = f"api/v1/devices/{UUIDS[1]}/cordon"
    answer = module_ask("POST", path, "admin-token", headers={"If-Match": condition})
    assert (answer.status_code, answer.json()["title"]) == (412, "Condition not met")
    assert module_ask("POST", path, "bob-token", headers={"If-Match": "*"}).status_code == 403


@pytest.mark.parametrize(
    "path", ["api/v1/nothing", "api/v1/devices/", "api/v1/users/ada/server/generations/0/files"]
)
@pytest.mark.parametrize("verb", ["GET", "POST", "DELETE"])
def test_what_is_not_there_is_not_there_whatever_is_asked_of_it(module_ask, verb, path):
    headers = {"If-Match": "*", "Idempotency-Key": ""}
    answer = module_ask(verb, f"{path}?path=x&path=y&z", "admin-token", headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (404, "There is nothing here.")


@pytest.mark.parametrize("query", ["since=9999-12-31&until=0001-01-01", "until=0001-01-01"])
def test_the_page_of_usage_at_the_ends_of_time(module_ask, query):
    answer = module_ask("GET", f"usage?{query}", "admin-token")
    assert answer.status_code == (400 if "since" in query else 200)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("\U0001f469\u200d\U0001f3eb", 200),  # somebody who teaches
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", 200),
        ("\u200d", 400),
        (" \u200c\u200d", 400),
        ("a\u200bb", 400),
        ("a\u2028b", 400),
        ("a\u202eb", 400),
    ],
)
def test_letters_that_are_joined_are_one_line(ask, said, status):
    sent = {"text": said}
    answer = ask("POST", "api/v1/users/ada/messages", "instructor-token", json=sent)
    assert answer.status_code == status
    if status == 200:
        [notice] = ask("GET", "api/v1/users/ada/server").json()["notices"]
        assert said in notice["text"]
    else:
        assert ask("GET", "api/v1/users/ada/server").json()["notices"] == []
