"""The handlers, openapi.yaml and docs/rest-api.md say the same, and nothing is open by mistake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, settings
from jupyterhub.scopes import _check_scopes_exist, define_custom_scopes
from jupyterhub.services.auth import HubOAuthCallbackHandler
from schemathesis.specs.openapi.checks import positive_data_acceptance
from service_server import running_service
from service_world import World, make_ledger
from tornado.web import RequestHandler, StaticFileHandler

import hub_ext
from hub_ext import scopes
from hub_ext.service import api, pages
from hub_ext.service.app import GpucampService
from hub_ext.service.reset import Failure

ROOT = Path(hub_ext.__file__).parent.parent
OPENAPI = Path(api.__file__).parent / "openapi.yaml"
SPEC = yaml.safe_load(OPENAPI.read_text())
VERBS = ("get", "head", "post", "put", "patch", "delete", "options")


def verbs_of(handler: type[RequestHandler]) -> list[str]:
    """The methods that the handler answers with anything but 405."""
    return [v for v in VERBS if getattr(handler, v) is not getattr(RequestHandler, v)]


def path_of(pattern: str) -> str:
    """A route as openapi.yaml writes it."""
    return "/" + re.sub(r"\(\?P<(\w+?)(?:_name|_id)>[^)]*\)", r"{\1}", pattern)


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
    # no schema can say which cursors there are; test_lists.py has those
    refused = [positive_data_acceptance] if "#bad-cursor" in response.text else []
    case.validate_response(response, excluded_checks=refused)
