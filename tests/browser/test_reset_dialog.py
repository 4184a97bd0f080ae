"""The dialogs of "Reset environment" and of its undo in a real Lab, by keyboard, also in Chinese.

The hub's service is not there: what it would say is put in its place. The whole way with a real one
is in test_reset.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from lab_page import LabPage, opened
from lab_server import LabServer
from playwright.sync_api import Browser, Locator, Route, expect

LANGUAGE = ".jupyter/lab/user-settings/@jupyterlab/translation-extension/plugin.jupyterlab-settings"
ADDRESS = re.compile(r"/gpucamp/reset(\?|$)")  # JupyterLab adds the time
MIB = 2**20

pytestmark = pytest.mark.timeout(400)


def package(name: str, size: int | None, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "base": None,
        "environment": "1.0",
        "bytes": size,
        "again": True,
        **more,
    }


PREVIEW: dict[str, Any] = {
    "generation": 3,
    "can_undo": True,
    "undo": [
        {"generation": 2, "left_at": "2026-01-31T10:00:00Z", "expires": None},
        {"generation": 1, "left_at": "2026-01-30T10:00:00Z", "expires": "2026-02-28T10:00:00Z"},
    ],
    "changed_packages": [
        package("torch", 900 * MIB, base="2.9.1", environment="2.10.0"),
        package("einops", 60 * 1024),
        package("mine", None, again=False),
        package("pandas", None, base="2.3.3", environment=None, again=False),
    ],
    "running_runs": 1,
    "kernels": 2,
    "outside": {
        "files": [
            {"path": "results", "bytes": 3 * MIB, "folder": True},
            {"path": "note.txt", "bytes": 5, "folder": False},
        ],
        "bytes": 3 * MIB + 5,
        "more": 2,
    },
    "environment_bytes": 10 * MIB,
}
MANY = PREVIEW | {
    "changed_packages": [package(f"package-{number}", number * MIB) for number in range(60)]
}


class ResetPage(LabPage):
    """A page of JupyterLab with the dialogs."""

    pictures = "reset"

    @property
    def dialog(self) -> Locator:
        return self.page.get_by_test_id("gpucamp-reset-dialog")

    @property
    def undo(self) -> Locator:
        return self.page.get_by_test_id("gpucamp-undo-dialog")

    @property
    def confirm(self) -> Locator:
        return self.dialog.get_by_test_id("gpucamp-reset-confirm")

    def choice(self, name: str) -> Locator:
        return self.dialog.get_by_test_id(f"gpucamp-reset-choice-{name}")

    def hears(self, preview: dict[str, Any]) -> None:
        """What the server says from now on."""

        def answer(route: Route) -> None:
            route.fulfill(status=200, content_type="application/json", body=json.dumps(preview))

        self.page.route(ADDRESS, answer)


@pytest.fixture
def shown(lab: LabServer, browser: Browser) -> Iterator[ResetPage]:
    with opened(lab, browser, ResetPage) as page:
        yield page
    lab.sh(f"cd; rm -f '{LANGUAGE}'")


def test_by_keyboard(shown: ResetPage) -> None:
    page = shown.page
    shown.hears(PREVIEW)
    shown.command("Reset environment")
    expect(shown.choice("kernels")).to_be_focused()
    expect(shown.dialog).to_contain_text("2 kernels are running")
    shown.picture("kernels")
    page.keyboard.press("Enter")
    expect(shown.dialog).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(shown.choice("packages")).to_be_checked()
    expect(shown.dialog).to_contain_text("torch 2.10.0 instead of 2.9.1")
    shown.picture("packages")
    page.keyboard.press("ArrowDown")
    expect(shown.choice("new")).to_be_checked()
    expect(shown.confirm).to_be_disabled()  # a run goes on
    shown.picture("new")
    shown.tab_to("gpucamp-reset-end-runs")
    page.keyboard.press("Space")
    expect(shown.confirm).to_be_enabled()
    shown.picture("new-agreed")
    page.keyboard.press("Escape")
    expect(shown.dialog).to_have_count(0)

    # after everything in it there is the way out, and back to where it begins
    shown.command("Reset environment")
    expect(shown.choice("kernels")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    shown.tab_to("gpucamp-reset-confirm")
    expect(shown.confirm).to_have_text("Save all and restart kernels")
    page.keyboard.press("Escape")
    expect(shown.dialog).to_have_count(0)


def test_many_packages(shown: ResetPage) -> None:
    shown.hears(MANY)
    shown.command("Reset environment")
    shown.choice("new").check()
    search = shown.dialog.get_by_role("searchbox")
    search.fill("-5")
    rows = shown.dialog.get_by_test_id("gpucamp-reset-packages").locator("li")
    expect(rows).to_have_count(11)
    shown.dialog.get_by_role("button", name="All").first.click()
    expect(shown.dialog).to_contain_text("11 chosen")
    shown.picture("many")
    search.press("Enter")
    expect(shown.dialog).to_be_visible()
    shown.page.set_viewport_size({"width": 480, "height": 600})
    shown.picture("narrow")
    shown.confirm.scroll_into_view_if_needed()
    expect(shown.confirm).to_be_in_viewport()


def test_a_listing_that_fails_keeps_nobody_from_it(shown: ResetPage) -> None:
    shown.command("Reset environment")  # the service does not answer
    shown.choice("new").check()
    expect(shown.dialog.get_by_role("alert")).to_contain_text("service does not answer")
    expect(shown.confirm).to_be_enabled()
    shown.picture("unlisted")
    shown.hears(PREVIEW | {"running_runs": 0})
    shown.dialog.get_by_role("button", name="Try again").click()
    expect(shown.dialog).to_contain_text("einops 1.0, added")


def test_undo_offers_two(shown: ResetPage) -> None:
    shown.hears(PREVIEW)
    shown.command("Undo last reset")
    radios = shown.undo.get_by_role("radio")
    expect(radios.first).to_be_focused()
    expect(radios).to_have_count(2)
    shown.page.keyboard.press("Enter")
    shown.page.keyboard.press("ArrowDown")
    expect(radios.last).to_be_checked()
    shown.picture("undo")
    shown.page.keyboard.press("Escape")
    expect(shown.undo).to_have_count(0)


def test_in_chinese(lab: LabServer, shown: ResetPage) -> None:
    folder = LANGUAGE.rpartition("/")[0]
    lab.ok(f"cd; mkdir -p '{folder}' && echo '{json.dumps({'locale': 'zh_CN'})}' > '{LANGUAGE}'")
    shown.page.reload()
    shown.wait_for_lab()
    shown.hears(PREVIEW)
    shown.command("重置环境")
    expect(shown.confirm).to_have_text("全部保存并重启内核")
    shown.picture("zh-kernels")
    shown.choice("packages").check()
    shown.picture("zh-packages")
    shown.choice("new").check()
    shown.picture("zh-new")
    shown.page.keyboard.press("Escape")
    shown.command("撤销上次重置")
    expect(shown.undo).to_be_visible()
    shown.picture("zh-undo")
