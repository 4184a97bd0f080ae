"""Launch DDP in JupyterLab, as a participant uses it."""

from __future__ import annotations

from lab_page import SECOND, LabPage
from playwright.sync_api import Locator, expect


class DdpPage(LabPage):
    """A page of JupyterLab with Launch DDP."""

    pictures = "ddp"

    @property
    def form(self) -> Locator:
        """The form of a launch."""
        return self.page.get_by_test_id("gpucamp-ddp-dialog")

    @property
    def run(self) -> Locator:
        """The run that is in front."""
        return self.page.locator(".gpucamp-RunPanel:visible")

    def part(self, name: str) -> Locator:
        """A part of the run that is in front, by its test id."""
        return self.run.get_by_test_id(f"gpucamp-ddp-{name}")

    def open_form(self, script: str) -> None:
        """From the command palette, with a script typed in."""
        self.command("Launch DDP")
        self.form.get_by_test_id("gpucamp-ddp-script").fill(script)

    def launch(self) -> None:
        """Press the button, once the command is known; the run is in front then."""
        expect(self.form.get_by_test_id("gpucamp-ddp-command")).to_contain_text("torchrun")
        self.form.get_by_test_id("gpucamp-ddp-launch").click()
        expect(self.part("state")).to_be_visible()

    def ends(self, state: str) -> None:
        """Wait for the end of the run in front."""
        expect(self.part("state")).to_have_attribute("data-state", state, timeout=120 * SECOND)
