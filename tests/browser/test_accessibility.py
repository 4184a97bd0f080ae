"""Every page of the service against WCAG 2.2 AA (axe-core), in light and dark."""

from __future__ import annotations

import pytest
from accessibility import violations
from class_of_eight import fill, samples
from service_page import PAGES, SlowHub
from service_server import running_service
from service_world import now

from hub_ext.service import pages


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_breaks_wcag(world, visit, scheme):
    fill(world)
    world.ledger.raise_hand("ada", "", "please", ("class-1",), now())
    with running_service(world, hub=SlowHub(world)) as service:
        samples(service)
        found = {}
        for visitor in ("admin-token", "ada-token"):
            service.visitor = service.tokens[visitor]
            page = visit(service, color_scheme=scheme)
            for path in PAGES if visitor == "admin-token" else ("",):
                page.goto(service.url + path)
                wrong = violations(page)
                if wrong:
                    found[visitor, path] = wrong
        assert not found, "\n".join(f"{key}: {line}" for key, ls in found.items() for line in ls)


def test_no_page_is_forgotten() -> None:
    """Each pattern of an address is among PAGES, but those that need something under way."""
    patterns = {pattern.split("/")[0].split("(")[0] for pattern, _handler in pages.ROUTES}
    listed = {path.split("/")[0].split("?")[0] for path in PAGES}
    assert patterns - listed <= {"operations", ".*"}, patterns - listed
