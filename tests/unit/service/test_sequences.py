"""Sequences of requests, by the links of openapi.yaml: the contract holds whatever comes first."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test
from openapi_contract import SPEC, resolved
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import positive_data_acceptance
from service_server import running_service
from service_world import World, make_ledger, now

from hub_ext.models import Request
from hub_ext.service.api_document import FILE

schema = schemathesis.openapi.from_path(FILE)

ROUNDS = 4
# what no schema can say: which cursors there are, and which keys were used
REFUSED = ("#bad-cursor", "#idempotency-key-reused")


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """A service with servers, a line and groups, on which the sequences follow each other."""
    ledger = make_ledger(tmp_path_factory.mktemp("sequences"))
    world = World(ledger)
    world.users |= {"bob": ("class-1",), "lin": ("class-1", "class-2")}
    world.run_server("ada")
    world.run_server("bob", groups=("class-1",))
    world.run_server("lin", "second", gpus=0)
    for user in ("u1", "u2", "u3"):
        world.ledger.enqueue(Request(user, "", 1, groups=("class-1",)), now())
    with running_service(world) as running:
        yield running
    ledger.close()


def test_whatever_follows_what_the_contract_holds(busy):
    ways: Counter[tuple[str, int]] = Counter()
    broken: list[FailureGroup] = []

    class Sequences(schema.as_state_machine()):
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {
                "base_url": busy.url.rstrip("/"),
                "headers": {"Authorization": "token admin-token"},
                "timeout": 20,
            }

        def validate_response(self, response: Any, case: Any, **more: Any) -> None:
            ways[case.operation.label, response.status_code] += 1
            # schemathesis takes "server": "" for a name; it makes another path, a default server's
            if "" in (case.path_parameters or {}).values():
                assert response.status_code < 500
                return
            known = any(kind in response.text for kind in REFUSED)
            excluded = [positive_data_acceptance] if known else []
            try:
                case.validate_response(response, excluded_checks=excluded)
            except FailureGroup as failure:
                broken.append(failure)
                raise

    # What was begun goes on beside the sequences, so hypothesis may meet another answer in the same
    # place. That is no failure, and the next round begins elsewhere.
    for number in range(ROUNDS):
        with suppress(Flaky):
            run_state_machine_as_test(
                seed(number)(Sequences),
                settings=settings(
                    max_examples=settings.default.max_examples // 2,
                    stateful_step_count=10,
                    deadline=None,
                    database=None,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                ),
            )
    assert broken == []
    done = {name for (name, status) in ways if status < 300}
    assert len(done) > 8, sorted(ways.items())


def test_every_link_leads_to_an_operation_that_has_its_arguments():
    operations = {
        each["operationId"]: [*item.get("parameters", []), *each.get("parameters", [])]
        for item in SPEC["paths"].values()
        for each in item.values()
        if isinstance(each, dict)
    }
    links = [
        link
        for item in SPEC["paths"].values()
        for each in item.values()
        if isinstance(each, dict)
        for answer in each["responses"].values()
        for link in answer.get("links", {}).values()
    ]
    assert len(links) > 30
    for link in links:
        known = {resolved(each)["name"] for each in operations[link["operationId"]]}
        assert {name.rpartition(".")[2] for name in link["parameters"]} <= known, link
