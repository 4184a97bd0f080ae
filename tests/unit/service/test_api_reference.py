"""The OpenAPI document over HTTP, and the page that shows it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
import yaml
from openapi_contract import SPEC
from service_server import ADA, running_service
from service_world import World, make_ledger

from hub_ext.service import api_document, problems
from hub_ext.service.api_reference import reference, type_text


@pytest.fixture(scope="module")
def module_ask(tmp_path_factory):
    """For questions that change nothing."""
    ledger = make_ledger(tmp_path_factory.mktemp("reference"))
    with running_service(World(ledger)) as running:
        yield running
    ledger.close()


@pytest.mark.parametrize("ending", ["json", "yaml"])
@pytest.mark.parametrize(
    ("token", "status"), [(None, 401), ("stranger-token", 403), (ADA, 200), ("admin-token", 200)]
)
def test_the_document_is_for_whoever_may_come_here(module_ask, ending, token, status):
    answer = module_ask("GET", f"api/v1/openapi.{ending}", token)
    assert answer.status_code == status
    if status == 200:
        answer.encoding = "utf-8"
        found = answer.json() if ending == "json" else yaml.safe_load(answer.text)
        assert found == SPEC


def test_the_document_says_where_the_service_stands():
    assert api_document.document("/jhub/services/gpucamp/")["servers"] == [
        {"url": "/jhub/services/gpucamp"}
    ]


class Page(HTMLParser):
    """The ids and the links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            assert not name.startswith("on") and name != "style", (tag, name)
            if name == "id":
                self.ids.append(str(value))
            if name == "href" and str(value).startswith("#"):
                self.links.add(str(value)[1:])


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_the_page_shows_everything_once(module_ask, language):
    answer = module_ask("GET", "docs/api", headers={"Accept-Language": language})
    assert answer.status_code == 200
    page = Page(answer.text)
    assert len(page.ids) == len(set(page.ids))
    operations = {
        each["operationId"]
        for item in SPEC["paths"].values()
        for each in item.values()
        if isinstance(each, dict)
    }
    assert operations | set(problems.KINDS) <= set(page.ids)
    assert {f"schema-{name}" for name in SPEC["components"]["schemas"]} <= set(page.ids)
    assert page.links <= set(page.ids), "no link leads nowhere"
    assert ("接口" in answer.text) == (language == "zh-CN")


def test_every_page_leads_to_it(module_ask):
    assert 'href="/services/gpucamp/docs/api"' in module_ask("GET", "").text
    assert module_ask("GET", "docs/api", None).status_code == 302
    assert module_ask("GET", "docs/api", "stranger-token").status_code == 403


def test_every_argument_field_and_answer_is_on_the_page():
    found = reference(SPEC)
    operations = [each for _part, operations in found.parts for each in operations]
    for operation in operations:
        said = SPEC["paths"][operation.path][operation.method.lower()]
        assert [each.status for each in operation.answers] == list(said["responses"])
        shared = SPEC["paths"][operation.path].get("parameters", [])
        assert len(operation.arguments) == len(shared) + len(said.get("parameters", []))
        scopes = said.get("security", [{"token": []}])[0]["token"]
        assert operation.scope == (scopes[0] if scopes else "")
    (lease,) = (each for each in found.schemas if each.name == "Device")
    paths = {field.path: field for field in lease.fields}
    assert paths[".leases[].user"].required
    assert paths[".leases[].expires_at"].schema == "End"
    (page,) = (each for each in operations if each.id == "leases")
    (answer,) = (each for each in page.answers if each.status == "200")
    assert [(field.path, field.type, field.schema) for field in answer.fields] == [
        (".leases", "array of Lease", "Lease"),
        (".next", "Next", "Next"),
    ]
    (extend,) = (each for each in operations if each.id == "drainDevice")
    assert [field.path for field in extend.body] == [".minutes", ".reason"]


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "string"}, "string"),
        ({"type": ["string", "null"], "format": "date-time"}, "string or null (date-time)"),
        (
            {"type": "integer", "minimum": 1, "maximum": 5, "default": 2},
            "integer from 1 to 5, default 2",
        ),
        ({"type": "string", "enum": ["", "a"]}, 'one of: "", a'),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Lease"}}, "array of Lease"),
        ({"anyOf": [{"type": "null"}, {"$ref": "#/components/schemas/Lease"}]}, "null or Lease"),
    ],
)
def test_a_type_in_words(schema, said):
    assert type_text(schema) == said


def test_what_is_said_in_the_document_is_text_on_the_page(module_ask):
    assert not re.search(r"<script(?! )", module_ask("GET", "docs/api").text)
