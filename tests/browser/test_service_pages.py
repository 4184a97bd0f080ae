"""The service's pages in a real Chromium, with a hub that is slow, failing or away.

The service and its ledger are real; hub and Engine are those of tests/unit/service, which can be
made to fail on time. The whole chain with a real hub and Engine is in test_journey.py.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "service"))

from service_server import RunningService, running_service  # noqa: E402
from service_world import FakeHub, HubFailsToStart, World, make_ledger  # noqa: E402

PICTURES = Path(__file__).resolve().parents[2] / "artifacts" / "browser"


class SlowHub(FakeHub):
    """Takes a moment to stop and to start a server, as a real one does."""

    async def stop(self, user: str, server: str) -> None:
        self._set(user, server, pending="stop", ready=False)
        asyncio.get_running_loop().call_later(0.8, self.world.stop_server, user, server)

    async def start(self, user: str, server: str, user_options: Mapping[str, object]) -> None:
        self._set(user, server, pending="spawn", stopped=False)
        asyncio.get_running_loop().call_later(0.8, self.world.run_server, user, server)

    def _set(self, user: str, server: str, **changes: object) -> None:
        self.world.servers[user, server] = replace(self.world.servers[user, server], **changes)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    ledger = make_ledger(tmp_path)
    world = World(ledger)
    world.run_server("ada")
    yield world
    ledger.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator:
    """Open a page of the service as its visitor; no script may fail on it."""
    contexts, problems = [], []

    def open_page(service: RunningService, path: str = "", **options) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1100, "height": 800}, **options})
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda line: problems.append(line.text) if "Content Security" in line.text else None,
        )
        page.goto(service.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"service-{name}.png", full_page=True)


def test_a_reset_by_keyboard_leads_back_into_the_lab(world, visit):
    with running_service(world, hub=SlowHub(world)) as service:
        page = visit(service)
        expect(page.get_by_text("Running", exact=True)).to_be_visible()
        expect(page.get_by_text("simulated", exact=True)).to_be_visible()
        picture(page, "environment")
        page.get_by_role("button", name="Reset environment…").focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Reset your environment?")
        expect(dialog).to_contain_text("packages you installed")
        expect(dialog).to_contain_text("all files in ~/work")
        # the safe answer has the focus: a second Enter must not reset
        expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        picture(page, "dialog")
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        assert world.ledger.operation_of("ada", "") is None
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url("**/operations/*")
        expect(page.get_by_text("Stopping the server")).to_be_visible()
        picture(page, "progress")
        page.wait_for_url("**/user/ada/")
        assert world.ledger.environment("ada", "").generation == 2

        page.goto(service.url)
        page.get_by_role("button", name="Undo the last reset…").click()
        page.get_by_role("dialog").get_by_role("button", name="Undo the reset").click()
        page.wait_for_url("**/user/ada/")
        assert world.ledger.environment("ada", "").generation == 1


def test_the_progress_page_outlives_a_hub_that_is_away(world, visit):
    with running_service(world, hub=SlowHub(world)) as service:
        page = visit(service)
        page.get_by_role("button", name="Reset environment…").click()
        page.get_by_role("dialog").get_by_role("button", name="Reset environment").click()
        page.wait_for_url("**/operations/*")
        service.hub_down = True
        expect(page.get_by_text("No answer from the service")).to_be_visible(timeout=20_000)
        service.hub_down = False
        page.wait_for_url("**/user/ada/", timeout=30_000)


def test_a_failure_says_what_to_do(world, visit):
    with running_service(world, hub=HubFailsToStart(world)) as service:
        page = visit(service)
        page.get_by_role("button", name="Reset environment…").click()
        page.get_by_role("dialog").get_by_role("button", name="Reset environment").click()
        page.wait_for_url("**/operations/*")
        alert = page.get_by_role("alert").filter(has_text="did not start")
        expect(alert).to_contain_text("The image is gone", timeout=20_000)
        expect(alert).to_contain_text("Start it from JupyterHub")
        picture(page, "failure")
        expect(page.get_by_role("button", name="Try again")).to_be_hidden()
        page.get_by_role("link", name="Start the server").click()
        page.wait_for_url("**/hub/spawn/ada")


def test_a_refusal_stays_in_the_dialog(world, visit):
    with running_service(world) as service:
        page = visit(service)
        page.get_by_role("button", name="Reset environment…").click()
        service.hub_down = True
        page.get_by_role("dialog").get_by_role("button", name="Reset environment").click()
        expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text(
            "JupyterHub did not answer", timeout=20_000
        )
        assert world.ledger.operation_of("ada", "") is None
        service.hub_down = False
        page.get_by_role("dialog").get_by_role("button", name="Reset environment").click()
        page.wait_for_url("**/user/ada/")


def test_the_page_follows_what_happens_elsewhere(world, visit):
    with running_service(world) as service:
        page = visit(service)
        world.stop_server("ada", "")
        expect(page.get_by_text("Stopped", exact=True)).to_be_visible(timeout=20_000)
        expect(page.get_by_role("link", name="Start the server")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_speaks_chinese(world, visit, scheme):
    with running_service(world) as service:
        phone = {
            "viewport": {"width": 360, "height": 740},
            "locale": "zh-CN",
            "color_scheme": scheme,
        }
        page = visit(service, **phone)
        expect(page.get_by_role("heading", name="我的环境")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.get_by_role("button", name="重置环境…").click()
        expect(page.get_by_role("dialog")).to_contain_text("您安装的软件包")
        picture(page, f"phone-{scheme}")
        page.keyboard.press("Escape")
        page.get_by_role("link", name="English").click()
        expect(page.get_by_role("heading", name="My environment")).to_be_visible()
        page.reload()
        expect(page.get_by_role("heading", name="My environment")).to_be_visible()


def test_an_admin_finds_a_participant_by_device(world, visit):
    with running_service(world, hub=SlowHub(world)) as service:
        service.visitor = service.tokens["admin-token"]
        page = visit(service)
        page.get_by_role("link", name="Devices").click()
        picture(page, "devices")
        page.get_by_role("link", name="ada").click()
        expect(page.get_by_role("heading", name="Environment of ada")).to_be_visible()


def test_an_instructor_resets_for_a_participant(world, visit):
    with running_service(world, hub=SlowHub(world)) as service:
        service.visitor = service.tokens["instructor-token"]
        page = visit(service)
        expect(page.get_by_role("link", name="Devices")).to_have_count(0)
        page.goto(page.url + "users/ada/server")
        expect(page.get_by_role("heading", name="Environment of ada")).to_be_visible()
        page.get_by_role("button", name="Reset environment…").click()
        page.get_by_role("dialog").get_by_role("button", name="Reset environment").click()
        page.wait_for_url("**/operations/*")
        expect(page.get_by_text("The environment is fresh.")).to_be_visible(timeout=20_000)
        # it is not the instructor's server: nobody is led into it
        page.wait_for_timeout(2000)
        expect(page).to_have_url(re.compile(r"/operations/"))
