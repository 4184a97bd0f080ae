"""Pages keep themselves up to date: by events, without them, and not while nobody sees them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from service_page import SlowHub
from service_server import RunningService, running_service
from service_world import UUIDS, World, now

from hub_ext.models import Cordon

WAITS = re.compile(r'data-(poll|gap)="\d+"')


@pytest.fixture
def service(world) -> Iterator[RunningService]:
    with running_service(world, hub=SlowHub(world)) as running:
        running.visitor = running.tokens["admin-token"]
        yield running


def patient(page: Page, url: str, *, also: str = "") -> None:
    """The page as it is, but asks again only in an hour if nothing happens, so that an event must
    be why it did; also="gap": whatever happens.
    """
    names = {"poll", also}

    def answer(route):
        response = route.fetch()
        text, found = WAITS.subn(
            lambda said: f'data-{said[1]}="3600"' if said[1] in names else said[0], response.text()
        )
        assert found == 2
        route.fulfill(response=response, body=text)

    page.route(url, answer)


def cordon(world: World, reason: str) -> None:
    world.ledger.cordon(UUIDS[0], Cordon.CORDONED, reason, now(), actor="root")


def listening(service: RunningService) -> int:
    return sum(service.service.events.streams.values())


def until(page: Page, condition, what: str) -> None:
    for _ in range(300):
        if condition():
            return
        page.wait_for_timeout(100)
    raise AssertionError(what)


def end_streams(service: RunningService) -> None:
    """As when the service is stopped; others may be opened afterwards."""

    async def end() -> None:
        feed = service.service.events
        await feed.close()
        while feed.streams:  # noqa: ASYNC110 - they end by themselves
            await asyncio.sleep(0.02)
        feed.closing = False

    asyncio.run_coroutine_threadsafe(end(), service.loop).result(10)


def see(page: Page, hidden: bool) -> None:
    """As when another tab is chosen."""
    page.evaluate(
        """hidden => {
          Object.defineProperty(document, "hidden", {get: () => hidden, configurable: true});
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_an_event_is_shown_soon(visit, service):
    page = visit(service, "docs/api")  # a page that does not change
    patient(page, service.url + "devices")
    page.goto(service.url + "devices")
    until(page, lambda: listening(service) == 1, "it listens")
    cordon(service.world, "a fan is loud")
    expect(page.get_by_text("a fan is loud")).to_be_visible(timeout=30_000)
    # and the next one by the same stream
    cordon(service.world, "it is mended soon")
    expect(page.get_by_text("it is mended soon")).to_be_visible(timeout=30_000)


def test_a_raised_hand_does_not_wait_for_its_turn(visit, service):
    """Other news of a class is shown when some time has passed since the last."""
    page = visit(service, "docs/api")  # a page that does not change
    patient(page, service.url + "class", also="gap")
    page.goto(service.url + "class")
    until(page, lambda: listening(service) == 1, "it listens")
    service.world.ledger.raise_hand("bob", "", "the loss is NaN", (), now())
    expect(page.get_by_text("the loss is NaN")).to_be_visible(timeout=30_000)
    service.world.ledger.lower_hand("bob", now(), actor="root")
    expect(page.get_by_text("the loss is NaN")).to_be_hidden(timeout=30_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    cordon(service.world, "no reason to hurry")
    page.wait_for_timeout(4000)
    assert asked == []


def test_what_happens_while_the_stream_is_broken_is_shown_after_it(visit, service):
    page = visit(service, "docs/api")  # a page that does not change
    patient(page, service.url + "devices")
    page.goto(service.url + "devices")
    until(page, lambda: listening(service) == 1, "it listens")
    broken = []
    page.route("**/api/v1/events", lambda route: (broken.append(1), route.abort())[1])
    end_streams(service)
    until(page, lambda: bool(broken) and listening(service) == 0, "it tried again, in vain")
    cordon(service.world, "while nobody listened")
    page.unroute("**/api/v1/events")
    expect(page.get_by_text("while nobody listened")).to_be_visible(timeout=60_000)


def test_without_events_it_asks_after_a_while(visit, service):
    page = visit(service, "docs/api")  # a page that does not change
    page.route("**/api/v1/events", lambda route: route.abort())
    page.goto(service.url + "devices")
    cordon(service.world, "nobody told")
    expect(page.get_by_text("nobody told")).to_be_visible(timeout=30_000)
    assert listening(service) == 0


def test_a_hidden_tab_asks_nothing_and_is_up_to_date_when_it_is_seen(visit, service):
    page = visit(service, "devices")
    until(page, lambda: listening(service) == 1, "it listens")
    see(page, hidden=True)
    until(page, lambda: listening(service) == 0, "its stream is closed")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    cordon(service.world, "nobody looks")
    page.wait_for_timeout(3000)
    assert asked == []
    see(page, hidden=False)
    expect(page.get_by_text("nobody looks")).to_be_visible(timeout=30_000)
    until(page, lambda: listening(service) == 1, "it listens again")


def test_events_about_others_are_no_reason_to_ask(visit, service):
    page = visit(service, "users/bob/server")
    until(page, lambda: listening(service) == 1, "it listens")
    page.wait_for_timeout(2500)  # the page has caught up with what was before it listened
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    service.world.ledger.raise_hand("ada", "", "help", (), now())
    page.wait_for_timeout(4000)
    assert asked == []
    service.world.ledger.raise_hand("bob", "", "the loss is NaN", (), now())
    expect(page.get_by_text("the loss is NaN")).to_be_visible(timeout=30_000)
