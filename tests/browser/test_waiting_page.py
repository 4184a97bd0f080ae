"""The page of those who wait for their server, in a real Chromium, with a hub that goes away.

The page is hub_ext/templates/spawn_pending.html itself, in a frame without JupyterHub's; what the
hub would answer comes from here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest
from playwright.sync_api import Browser, Page, Route, expect

TEMPLATES = Path(__file__).resolve().parents[2] / "hub_ext" / "templates"
HUB = "http://hub.test/hub/"
FRAME = """<!doctype html><style>.d-none { display: none }</style>
{% block main %}{% endblock %}<script>
window.jhdata = { base_url: "/hub/" };
window.require = (names, body) => body(null, function () {});
</script>{% block script %}{% endblock %}"""
WAITING = {"message": "number 1 of 1", "position": 1, "progress": 20}


class Hub:
    """Answers what the page asks for: `stream` is what its event stream says, None nothing ever."""

    def __init__(self, html: str) -> None:
        self.html = html
        self.well = True
        self.stream: tuple[int, str] | None = (200, "")
        self.loads = 0

    def answer(self, route: Route) -> None:
        path = route.request.url.removeprefix(HUB)
        if path == "health":
            route.fulfill(status=200 if self.well else 503)
        elif path == "progress":
            if self.stream is not None:
                status, body = self.stream
                route.fulfill(status=status, content_type="text/event-stream", body=body)
        else:
            self.loads += 1
            route.fulfill(status=200, content_type="text/html", body=self.html)


@pytest.fixture
def hub() -> Hub:
    loader = jinja2.ChoiceLoader(
        [jinja2.DictLoader({"page.html": FRAME}), jinja2.FileSystemLoader(TEMPLATES)]
    )
    template = jinja2.Environment(loader=loader, autoescape=True).get_template("spawn_pending.html")
    spawner = SimpleNamespace(user=SimpleNamespace(name="ada"), name="")
    return Hub(
        template.render(
            spawner=spawner,
            progress_url=f"{HUB}progress",
            base_url="/hub/",
            gettext=lambda text, language: text,
        )
    )


@pytest.fixture
def page(hub: Hub, browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    context.route(f"{HUB}**", hub.answer)
    yield context.new_page()
    context.unroute_all(behavior="ignoreErrors")
    context.close()


@pytest.mark.parametrize("stream", [(503, ""), None], ids=["ends", "is silent"])
def test_it_outlives_a_hub_that_is_away(hub: Hub, page: Page, stream) -> None:
    hub.stream, hub.well = stream, False
    page.goto(f"{HUB}spawn-pending/ada")
    expect(page.get_by_text("The connection was lost")).to_be_visible(timeout=30_000)
    page.wait_for_timeout(7000)  # two looks at the hub
    expect(page.get_by_role("heading", name="Your server is starting")).to_be_visible()
    assert hub.loads == 1
    hub.well, hub.stream = True, (200, f"data: {json.dumps(WAITING)}\n\n")
    expect(page.get_by_text("number 1 of 1")).to_be_visible(timeout=30_000)
    assert hub.loads == 2


def test_a_failed_start_is_not_called_starting(hub: Hub, page: Page) -> None:
    failed = {"failed": True, "progress": 100, "message": "No GPU became free in time."}
    hub.stream = (200, f"data: {json.dumps(WAITING)}\n\ndata: {json.dumps(failed)}\n\n")
    page.goto(f"{HUB}spawn-pending/ada")
    expect(page.get_by_role("heading", name="Your server did not start")).to_be_visible()
    expect(page.get_by_text("No GPU became free in time.")).to_be_visible()
    expect(page.get_by_text("as soon as it is ready")).to_be_hidden()
    expect(page.get_by_role("link", name="Start again")).to_have_attribute("href", "/hub/spawn/ada")
