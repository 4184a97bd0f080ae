"""JupyterLab of one server, as somebody with a keyboard uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest
from conftest import PICTURES
from lab_server import USER, LabServer
from playwright.sync_api import Browser, Page, expect

SECOND = 1000


class LabPage:
    """A page of JupyterLab. `pictures` begins the names of its screenshots."""

    pictures = "lab"

    def __init__(self, page: Page) -> None:
        self.page = page

    def wait_for_lab(self) -> None:
        """It is there, with what was open restored."""
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0, timeout=60 * SECOND)
        expect(self.page.locator("#jp-main-dock-panel .lm-Widget").first).to_be_visible(
            timeout=60 * SECOND
        )

    def command(self, label: str) -> None:
        """Run a command from the palette."""
        self.page.keyboard.press("Control+Shift+C")
        palette = self.page.locator(".jp-ModalCommandPalette, #command-palette").first
        palette.locator("input").fill(label)
        expect(palette.locator(".lm-CommandPalette-item", has_text=label).first).to_be_visible()
        self.page.keyboard.press("Enter")

    def picture(self, name: str) -> None:
        """Save a screenshot."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{self.pictures}-{name}.png")

    # -- the focus

    def focused(self) -> str:
        """The test id of what has the focus."""
        return str(self.page.evaluate("document.activeElement.dataset.testid ?? ''"))

    def tab_to(self, test_id: str) -> None:
        """Go there with the Tab key alone."""
        for _ in range(60):
            if self.focused() == test_id:
                return
            self.page.keyboard.press("Tab")
        pytest.fail(f"no way by keyboard to {test_id}")


Shown = TypeVar("Shown", bound=LabPage)


@contextmanager
def opened(
    lab: LabServer, browser: Browser, kind: type[Shown], *, path: str = "lab"
) -> Iterator[Shown]:
    """A window with the server's Lab in it. path: below the server, such as lab/tree/train.py."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 800},
        extra_http_headers={"Authorization": f"token {lab.hub_token}"},
    )
    page = context.new_page()
    page.set_default_timeout(60 * SECOND)
    page.goto(f"http://127.0.0.1:{lab.port}/user/{USER}/{path}?reset")  # as it is at first
    shown = kind(page)
    try:
        shown.wait_for_lab()
        yield shown
    finally:
        context.close()
