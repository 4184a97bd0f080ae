"""GPU doctor in JupyterLab, as somebody with a keyboard uses it."""

from __future__ import annotations

from lab_page import SECOND, LabPage
from playwright.sync_api import Locator, expect


class DoctorPage(LabPage):
    """A page of JupyterLab with GPU doctor."""

    pictures = "doctor"

    @property
    def panel(self) -> Locator:
        """All of it."""
        return self.page.get_by_test_id("gpucamp-doctor-panel")

    @property
    def verdict(self) -> Locator:
        """Its heading."""
        return self.page.get_by_test_id("gpucamp-doctor-verdict")

    def finding(self, code: str) -> Locator:
        """One of its findings."""
        return self.panel.get_by_test_id(f"gpucamp-finding-{code}")

    def is_examined(self) -> None:
        """Wait for the end of an examination."""
        expect(self.verdict).to_have_attribute("data-phase", "finished", timeout=120 * SECOND)
