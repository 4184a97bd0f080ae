"""Every page, on a desktop and on a phone: nothing jumps, nothing is wrong in the console, nothing
hangs over the edge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from class_of_eight import fill, samples
from playwright.sync_api import Browser, Page
from service_page import PAGES, SlowHub
from service_server import RunningService, running_service
from service_world import UUIDS, World, now

from hub_ext.models import Cordon

VIEWPORTS = {
    "desktop": {"viewport": {"width": 1100, "height": 800}},
    "phone": {
        "viewport": {"width": 360, "height": 740},
        "has_touch": True,
        "is_mobile": True,
        "device_scale_factor": 2,
    },
}

# https://web.dev/articles/cls: up to 0.1 is good
GOOD_SHIFT = 0.1

WATCH = """
window.shifts = [];
new PerformanceObserver(list => {
  for (const entry of list.getEntries()) {
    if (entry.hadRecentInput) continue;
    const moved = entry.sources.map(source => source.node?.outerHTML?.slice(0, 120) ?? "?");
    window.shifts.push({value: entry.value, moved});
  }
}).observe({type: "layout-shift", buffered: true});
"""


@pytest.fixture
def service(world) -> Iterator[RunningService]:
    fill(world)
    world.users["root"] = ()
    with running_service(world, hub=SlowHub(world)) as running:
        samples(running)
        yield running


def change(world: World) -> None:
    """Something that every live page tells of, and that changes nobody's place."""
    devices = {record.device.uuid: record for record in world.ledger.devices()}
    cordoned = devices[UUIDS[0]].cordon is not Cordon.NONE
    wanted = Cordon.NONE if cordoned else Cordon.CORDONED
    world.ledger.cordon(UUIDS[0], wanted, "a fan is loud", now(), actor="root")


def look(page: Page, service: RunningService, path: str) -> dict[str, Any]:
    """What is wrong with one page, after it has been fetched again behind its reader's back."""
    said: list[str] = []
    wrong: dict[str, Any] = {}

    def heard(line: Any) -> None:
        if line.type in ("error", "warning"):
            said.append(f"{line.type}: {line.text}")

    def answered(answer: Any) -> None:
        if answer.status >= 400 and answer.url != service.url + "no/such/page":
            said.append(f"{answer.status} {answer.url}")

    page.on("console", heard)
    page.on("response", answered)
    page.goto(service.url + path, wait_until="load")
    if page.locator("[data-live]").count():
        address = page.url
        with page.expect_response(lambda answer: answer.url == address, timeout=60_000) as again:
            change(service.world)
        again.value.finished()
        page.wait_for_timeout(300)  # what was fetched is shown
    page.remove_listener("console", heard)
    page.remove_listener("response", answered)
    said = [line for line in said if path != "no/such/page" or "404" not in line]
    if said:
        wrong["console"] = said
    shifts = page.evaluate("window.shifts")
    if sum(shift["value"] for shift in shifts) >= GOOD_SHIFT:
        wrong["layout shift"] = shifts
    wide = page.evaluate("document.scrollingElement.scrollWidth")
    # not innerWidth: a phone shows a wide page smaller, and that grows with it
    room = page.viewport_size["width"]
    if wide > room:
        wrong["wider than the window"] = (wide, room)
    return wrong


@pytest.mark.timeout(300)
@pytest.mark.parametrize("viewport", VIEWPORTS)
def test_pages_neither_jump_nor_complain_nor_overflow(service, browser: Browser, viewport):
    found = {}
    for visitor in ("admin-token", "ada-token"):
        service.visitor = service.tokens[visitor]
        context = browser.new_context(**VIEWPORTS[viewport])
        try:
            context.add_init_script(WATCH)
            page = context.new_page()
            problems: list[str] = []
            page.on("pageerror", lambda error, problems=problems: problems.append(str(error)))
            for path in PAGES if visitor == "admin-token" else ("", "class"):
                wrong = look(page, service, path)
                if problems:
                    wrong["script"] = list(problems)
                    problems.clear()
                if wrong:
                    found[visitor, path] = wrong
        finally:
            context.close()
    assert not found, "\n".join(f"{key}: {value}" for key, value in found.items())


def test_a_page_that_does_is_found(service, browser: Browser):
    context = browser.new_context(**VIEWPORTS["phone"])
    try:
        context.add_init_script(WATCH)
        page = context.new_page()
        page.route(
            "**/static/live.js*",
            lambda route: route.fulfill(
                content_type="text/javascript",
                body="""
                console.warn("something is old");
                const add = (style, where) => {
                  const block = document.createElement("div");
                  block.style = style;
                  document.querySelector("main")[where](block);
                };
                // when the page has been painted; one after the other, for a phone that shows a
                // page smaller counts no shift then
                setTimeout(() => add("height: 300px", "prepend"), 1500);
                setTimeout(() => add("width: 900px; height: 1px", "append"), 2000);
                setTimeout(
                  () => setInterval(async () => (await fetch(location.href)).text(), 500), 2500
                );
                """,
            ),
        )
        service.visitor = service.tokens["admin-token"]
        page.goto(service.url + "devices")
        assert look(page, service, "devices").keys() == {
            "console",
            "layout shift",
            "wider than the window",
        }
    finally:
        context.close()
