"""The handlers, openapi.yaml and docs/rest-api.md say the same, and nothing is open by mistake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from jupyterhub.scopes import _check_scopes_exist, define_custom_scopes
from jupyterhub.services.auth import HubOAuthCallbackHandler
from openapi_contract import ROUTES, SPEC, check_answer, operation_at, path_of, resolved
from schemathesis.specs.openapi.checks import positive_data_acceptance
from service_server import running_service
from service_world import World, make_ledger
from tornado.web import RequestHandler, StaticFileHandler

import hub_ext
from hub_ext import scopes
from hub_ext.models import NoticeKind
from hub_ext.service import api, pages
from hub_ext.service.app import GpucampService
from hub_ext.service.reset import Failure

ROOT = Path(hub_ext.__file__).parent.parent
OPENAPI = Path(api.__file__).parent / "openapi.yaml"
VERBS = ("get", "head", "post", "put", "patch", "delete", "options")


def verbs_of(handler: type[RequestHandler]) -> list[str]:
    """The methods that the handler answers with anything but 405."""
    return [v for v in VERBS if getattr(handler, v) is not getattr(RequestHandler, v)]


def served() -> set[tuple[str, str, str]]:
    """(method, path, scope) of every REST handler."""
    return {
        (verb.upper(), path_of(pattern), getattr(handler, verb).required_scope)
        for pattern, handler in api.ROUTES
        if handler is not api.UnknownHandler
        for verb in verbs_of(handler)
    }


def test_every_verb_of_every_handler_is_authenticated_and_authorised(ask):
    """The table of the real application, so that no handler can slip in beside it."""
    seen = 0
    for rule in ask.application.wildcard_router.rules:
        handler = rule.target
        if handler is StaticFileHandler or issubclass(handler, HubOAuthCallbackHandler):
            continue  # files of the package; the sign-in itself
        assert issubclass(handler, api.ServiceHandler), handler
        assert verbs_of(handler), handler
        for verb in verbs_of(handler):
            assert hasattr(getattr(handler, verb), "required_scope"), f"{handler}.{verb} is open"
            seen += 1
    assert seen >= len(api.ROUTES) + len(pages.ROUTES)


def test_an_open_handler_would_be_found():
    class Open(api.ApiHandler):
        async def get(self) -> None:
            self.answer({})

    assert not hasattr(Open.get, "required_scope")


def test_openapi_lists_what_is_served_with_its_scope():
    listed = set()
    for path, item in SPEC["paths"].items():
        for verb in VERBS:
            if verb in item:
                security = item[verb].get("security", [{"token": []}])[0]["token"]
                listed.add((verb.upper(), path, security[0] if security else "access:services"))
    assert listed == served()


OPERATIONS = [
    (verb.upper(), path, item[verb])
    for path, item in SPEC["paths"].items()
    for verb in VERBS
    if verb in item
]
EXAMPLES = {
    "user": "ada",
    "server": "second",
    "group": "class-1",
    "generation": "1",
    "device": "GPU-none",
    "lease": "none",
    "operation": "none",
}


def example(path: str) -> str:
    """A path with something in its places."""
    return re.sub(r"\{(\w+)\}", lambda found: EXAMPLES.get(found[1], "none"), path).lstrip("/")


def test_every_kind_of_notice_is_in_the_document():
    notice = SPEC["components"]["schemas"]["Server"]["properties"]["notices"]["items"]
    assert sorted(notice["properties"]["kind"]["enum"]) == sorted(NoticeKind)


def test_the_paths_of_the_document_are_routes():
    for verb, path, operation in OPERATIONS:
        assert operation_at(verb, example(path)) is operation, path


def test_every_query_argument_is_in_the_document_and_the_other_way_round():
    for pattern, handler in ROUTES:
        item = SPEC["paths"][path_of(pattern.pattern)]
        for verb in verbs_of(handler):
            given = [*item.get("parameters", []), *item[verb].get("parameters", [])]
            listed = {each["name"] for each in map(resolved, given) if each["in"] == "query"}
            # only a GET is asked with a query
            assert listed == (handler.query if verb == "get" else set()), pattern.pattern


@pytest.mark.parametrize(("verb", "path", "operation"), OPERATIONS)
def test_every_operation_answers_as_documented_to_those_it_refuses(fuzzed, verb, path, operation):
    """`fuzzed` compares each answer with the document; it has to know these statuses."""
    address = example(path)
    known = set(operation["responses"])
    for token, status in ((None, 401), ("nonsense", 401), ("stranger-token", 403)):
        assert fuzzed(verb, address, token).status_code == status
    assert fuzzed(verb, f"{address}?no-such=1", "admin-token").status_code == 400
    assert fuzzed(verb, f"{address}?no-such=1&no-such=2", "admin-token").status_code == 400
    if verb == "POST":
        for body, status in ((b"{", 400), (b"[1]", 400), (b" " * 70000, 413)):
            assert fuzzed(verb, address, "admin-token", data=body).status_code in (status, 404)
        assert "413" in known
    assert {"400", "401", "403", "503"} <= known
    assert ("404" in known) == ("{" in path or path in OF_A_GROUP), path


OF_A_GROUP = {"/api/v1/class"}  # which the query names


def fields_of(schema: dict) -> list[tuple[set[str], set[str], object]]:
    """Of every object in a schema: its fields, those that are required, and what else may be."""
    found = []
    if "properties" in schema:
        found.append(
            (
                set(schema["properties"]),
                set(schema.get("required", [])),
                schema.get("additionalProperties"),
            )
        )
        for each in schema["properties"].values():
            found += fields_of(each)
    for each in (*schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])):
        found += fields_of(each)
    return found


# fields that are there only sometimes
SOMETIMES = {"day", "user", "group", "device", "instance"}


def test_every_field_of_an_answer_is_documented_and_there():
    """What a test gets is checked against these schemas, so none may have a field too many."""
    schemas = [
        content["schema"]
        for _verb, path, operation in OPERATIONS
        if not path.endswith((".json", ".yaml"))
        for response in map(resolved, operation["responses"].values())
        for content in response.get("content", {}).values()
    ]
    seen = [fields for schema in schemas for fields in fields_of(schema)]
    seen += [
        fields for each in SPEC["components"]["schemas"].values() for fields in fields_of(each)
    ]
    assert len(seen) > 50
    for properties, required, more in seen:
        assert properties - required <= SOMETIMES, properties - required
        assert more is False or more == {"type": "integer", "minimum": 0}, properties


def test_the_comparison_finds_what_is_wrong(fuzzed):
    answer = fuzzed("GET", "api/v1/health")
    body = answer.json()
    for wrong in ({**body, "more": 1}, {"status": "ok"}, {**body, "devices": 3}):
        answer.json = lambda wrong=wrong: wrong
        with pytest.raises(AssertionError):
            check_answer("GET", "api/v1/health", answer)
    answer.status_code = 418
    with pytest.raises(AssertionError):
        check_answer("GET", "api/v1/health", answer)


def test_the_document_lists_what_is_served_with_its_scope():
    rows = re.findall(
        r"^\| (GET|POST) \| `([^`]+)` \| (?:`([^`]+)`|none) \|",
        (ROOT / "docs" / "rest-api.md").read_text(),
        re.MULTILINE,
    )
    assert {(verb, path, scope or "access:services") for verb, path, scope in rows} == served()


def test_openapi_knows_every_failure():
    codes = SPEC["components"]["schemas"]["Operation"]["properties"]["error_code"]["enum"]
    assert set(codes) == {None, *(failure.value for failure in Failure)}


def test_openapi_has_the_packages_version():
    assert SPEC["info"]["version"] == hub_ext.__version__


def test_the_scopes_are_jupyterhubs():
    define_custom_scopes(scopes.CUSTOM_SCOPES)
    for names in (
        scopes.USER_SCOPES,
        scopes.SERVER_TOKEN_SCOPES,
        scopes.OAUTH_CLIENT_ALLOWED_SCOPES,
        scopes.SERVICE_SCOPES,
        scopes.INSTRUCTOR_SCOPES,
        scopes.ADMIN_SCOPES,
        scopes.PROMETHEUS_SCOPES,
    ):
        _check_scopes_exist(names)


def test_the_servers_token_can_neither_start_nor_stop_servers():
    bases = {name.partition("!")[0] for name in scopes.SERVER_TOKEN_SCOPES}
    assert bases.isdisjoint({"servers", "start:servers", "delete:servers", "admin:servers"})


def test_every_setting_has_help():
    for name, trait in GpucampService.class_own_traits(config=True).items():
        assert len(trait.help) > 20, f"GpucampService.{name} says nothing"


schema = schemathesis.openapi.from_path(OPENAPI)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    ledger = make_ledger(tmp_path_factory.mktemp("fuzz"))
    world = World(ledger)
    world.run_server("ada")
    world.run_server("ada", "second")
    world.users |= {"bob": ("class-1",)}
    with running_service(world) as running:
        yield running
    ledger.close()


@schema.parametrize()
@settings(
    max_examples=settings.default.max_examples // 4,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
def test_no_request_breaks_the_contract(case, fuzzed):
    response = case.call(
        base_url=fuzzed.url.rstrip("/"),
        headers={"Authorization": "token admin-token"},
        timeout=10,
    )
    # no schema can say which cursors there are, nor which keys were used; other tests have those
    known = re.search(r"#(bad-cursor|idempotency-key-reused)", response.text)
    refused = [positive_data_acceptance] if known else []
    case.validate_response(response, excluded_checks=refused)
