"""A group's page in a real Chromium: everyone is started and stopped, live, with a result each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from accessibility import violations
from playwright.sync_api import Browser, Page, Route, expect
from service_server import RunningService, person, running_service
from service_world import FakeHub, HubServer, World, make_ledger, now

from hub_ext import scopes
from hub_ext.models import Request

PICTURES = Path(__file__).resolve().parents[2] / "artifacts" / "browser"
WITHOUT_GPU = 3


class SlowHub(FakeHub):
    """Has devices for none but the first few, and takes a moment for each."""

    async def start(self, user: str, server: str, user_options: Mapping[str, object]) -> None:
        await asyncio.sleep(0.4)
        if int(user.removeprefix("pupil-")) < WITHOUT_GPU:
            await super().start(user, server, user_options)
            return
        self.world.servers[user, server] = HubServer(False, False, "spawn", "", {})
        self.world.ledger.enqueue(Request(user, server, 1), now(), waiter="run", user_options={})

    async def stop(self, user: str, server: str) -> None:
        await asyncio.sleep(0.4)
        self.world.ledger.withdraw(user, server)
        await super().stop(user, server)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(make_ledger(tmp_path))
    world.users = {f"pupil-{n}": ("class-1",) for n in range(6)} | {"gone": ("class-1",)}
    world.run_server("pupil-0")
    return world


def open_page(browser: Browser, service: RunningService, **options: object) -> Page:
    page = browser.new_context(**{"viewport": {"width": 1100, "height": 900}, **options}).new_page()
    page.set_default_timeout(15_000)
    page.goto(service.url + "groups/class-1")
    return page


def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"group-{name}.png", full_page=True)
    assert violations(page) == []


def test_a_class_is_started_and_stopped(browser: Browser, world: World) -> None:
    hub = SlowHub(world)
    with running_service(world, hub=hub) as service:
        service.visitor = person(
            "tea",
            *(
                f"{scope}!group=class-1"
                for scope in (
                    scopes.ENVIRONMENT_READ,
                    scopes.ENVIRONMENT_RESET,
                    scopes.SERVERS_MANAGE,
                )
            ),
        )
        page = open_page(browser, service)
        page.get_by_role("button", name="Start everyone…").click()
        dialog = page.get_by_role("dialog", name="Start everyone in class-1?")
        dialog.get_by_label("Reason").fill("the lesson begins")
        picture(page, "start-dialog")
        del world.users["gone"]
        dialog.get_by_role("button", name="Start everyone").click()
        expect(page.get_by_text("The servers of the group are being started.")).to_be_visible()
        expect(page.locator("#group-actions .state.starting").first).to_be_visible()
        expect(page.get_by_text("3 in line for a GPU")).to_be_visible(timeout=60_000)
        expect(page.get_by_role("row", name="pupil-0")).to_contain_text("The server runs already.")
        expect(page.get_by_role("row", name="pupil-5")).to_contain_text("waits in line")
        picture(page, "started")

        page.get_by_role("button", name="Stop everyone…").click()
        dialog = page.get_by_role("dialog", name="Stop everyone in class-1?")
        expect(dialog.get_by_label("Minutes from now")).to_have_value("5")
        dialog.get_by_label("Reason").fill("the lesson is over")
        picture(page, "stop-dialog")
        dialog.get_by_role("button", name="Stop everyone").click()
        expect(page.get_by_text("Whoever has a server was told")).to_be_visible()
        picture(page, "stop-announced")
        page.get_by_role("button", name="Stop after those under way").click()
        expect(page.get_by_text("6 left alone")).to_be_visible()

        page.get_by_role("button", name="Stop everyone…").click()
        dialog.get_by_label("Minutes from now").fill("0")
        dialog.get_by_label("Reason").fill("now")
        dialog.get_by_role("button", name="Stop everyone").click()
        expect(page.get_by_text("6 of 6 done")).to_be_visible(timeout=60_000)
        assert world.ledger.queue() == ()
        phone = open_page(
            browser,
            service,
            viewport={"width": 360, "height": 740},
            locale="zh-CN",
            color_scheme="dark",
        )
        expect(phone.get_by_role("button", name="全部停止…")).to_be_visible()
        assert phone.evaluate("document.documentElement.scrollWidth") <= 360
        picture(phone, "phone")


def test_who_may_only_reset_has_no_such_buttons(browser: Browser, world: World) -> None:
    with running_service(world) as service:
        service.visitor = person("tea", f"{scopes.ENVIRONMENT_RESET}!group=class-1")
        page = open_page(browser, service)
        expect(page.get_by_role("button", name="Reset everyone…")).to_be_visible()
        expect(page.get_by_role("button", name="Start everyone…")).to_have_count(0)
        expect(page.get_by_role("button", name="Stop everyone…")).to_have_count(0)


def test_a_message_whose_answer_was_lost_is_sent_again_and_told_once(
    browser: Browser, world: World
) -> None:
    lost: list[int] = []

    def lose_the_first(route: Route) -> None:
        if lost:
            route.continue_()
            return
        lost.append(route.fetch().status)  # it was done
        route.abort()

    with running_service(world) as service:
        service.visitor = person("tea", *scopes.INSTRUCTOR_SCOPES)
        page = open_page(browser, service)
        page.route("**/messages", lose_the_first)
        page.get_by_role("button", name="Write to everyone…").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Message").fill("look here")
        dialog.get_by_role("button", name="Send").click()
        expect(dialog.get_by_role("alert")).to_be_visible()
        assert lost == [200]
        dialog.get_by_role("button", name="Send").click()
        expect(page.get_by_text("Your message to class-1 is sent.")).to_be_visible()
        assert len(world.ledger.notices("pupil-1")) == 1
        page.get_by_role("button", name="Write to everyone…").click()
        dialog.get_by_label("Message").fill("look here")
        dialog.get_by_role("button", name="Send").click()
        expect(dialog).to_be_hidden()
        assert len(world.ledger.notices("pupil-1")) == 2, "said again on purpose"
