"""A participant mends a broken environment in the doctor's panel, with the keyboard alone, in the
real image and a real Chromium; then the same panel in Chinese.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from doctor_page import DoctorPage
from lab_page import SECOND, opened
from lab_server import LabServer
from playwright.sync_api import Browser, expect

BREAKING = "typing_extensions==4.0.0"  # torch 2.9 needs a newer one
LANGUAGE = ".jupyter/lab/user-settings/@jupyterlab/translation-extension/plugin.jupyterlab-settings"
REPAIR = "gpucamp-repair-GC311"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def doctor(lab: LabServer, browser: Browser, wheels: Path) -> Iterator[DoctorPage]:
    """Lab of a server whose torch is broken by a package."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(wheels, "wheels")
    assert lab.container.put_archive("/home/jovyan/work", packed.getvalue())
    break_torch(lab)
    with opened(lab, browser, DoctorPage) as shown:
        yield shown
    lab.sh(f"cd; rm -f '{LANGUAGE}'; pip uninstall --yes typing_extensions")


def break_torch(lab: LabServer) -> None:
    status, out = lab.sh(f"pip install --no-index --find-links /home/jovyan/work/wheels {BREAKING}")
    assert status == 0, out
    assert "cannot import name" in lab.sh("python -c 'import torch'")[1]


def test_a_participant_mends_torch_by_keyboard(lab: LabServer, doctor: DoctorPage) -> None:
    page, panel = doctor.page, doctor.panel
    doctor.command("GPU doctor")
    doctor.is_examined()
    expect(doctor.finding("GC311")).to_contain_text("typing_extensions")
    doctor.picture("repair-offered")

    # what is asked shows the command; Escape does nothing and leads back
    doctor.tab_to(REPAIR)
    page.keyboard.press("Enter")
    dialog = page.get_by_test_id("gpucamp-repair-dialog")
    command = dialog.get_by_test_id("gpucamp-repair-command")
    expect(command).to_contain_text("uninstall --yes typing_extensions")
    doctor.picture("repair-consent")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert doctor.focused() == REPAIR

    # the button that does it has to be gone to: Enter alone is "Cancel"
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Tab")
    expect(dialog.get_by_role("button", name="Repair")).to_be_focused()
    page.keyboard.press("Enter")
    part = page.get_by_test_id("gpucamp-repair")
    expect(part).to_be_visible()
    expect(part).to_have_attribute("data-phase", "mended", timeout=120 * SECOND)
    expect(doctor.finding("GC311")).to_have_count(0)
    expect(part.get_by_role("heading")).to_be_focused()
    expect(part.locator("pre")).to_contain_text("Successfully uninstalled typing_extensions")
    assert doctor.verdict.get_attribute("data-verdict") in ("advice", "healthy")
    doctor.picture("repair-done")
    assert lab.sh("python -c 'import torch; print(torch.__version__)'")[1].startswith("2.9.1")

    # closing what was read leads to the verdict, not to the top of the page
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(part).to_have_count(0)
    expect(panel.get_by_role("heading", level=1)).to_be_focused()

    # the same in Chinese; the panel is there again after the page was loaded anew
    break_torch(lab)
    folder = LANGUAGE.rpartition("/")[0]
    wish = json.dumps({"locale": "zh_CN"})
    status, out = lab.sh(f"cd; mkdir -p '{folder}' && echo '{wish}' > '{LANGUAGE}'")
    assert status == 0, out
    page.reload()
    doctor.wait_for_lab()
    page.get_by_test_id("gpucamp-doctor-examine").click()
    expect(page.get_by_test_id(REPAIR)).to_have_text("修复…")
    doctor.is_examined()
    page.get_by_test_id(REPAIR).click()
    expect(dialog).to_contain_text("从内核的环境中卸载软件包")
    doctor.picture("repair-consent-zh")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert doctor.focused() == REPAIR
    assert "cannot import name" in lab.sh("python -c 'import torch'")[1]
