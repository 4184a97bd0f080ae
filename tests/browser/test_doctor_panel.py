"""GPU doctor in JupyterLab: kernels that run, measuring, the suggestion; by keyboard alone, in
every width and both themes; and whatever a finding says is text.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

import pytest
from doctor_page import DoctorPage
from lab_page import SECOND, opened
from lab_server import LabServer
from playwright.sync_api import Browser, expect

KERNELS = "/home/jovyan/.local/share/jupyter/kernels"
MARKUP = "<img src=x onerror='window.isMarkup=1'>"
MOVED = "gpucamp-finding-GC714"  # a new kernel would get other settings

# the lowest contrast that WCAG 2.1 AA allows to text; of what an element and those behind it have
CONTRAST = """element => {
  const parse = text => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([red, green, blue]) => [red, green, blue]
    .map(value => value / 255)
    .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const text = light(parse(getComputedStyle(element).color));
  let behind = element;
  let colour = [];
  do {
    colour = parse(getComputedStyle(behind).backgroundColor);
    behind = behind.parentElement;
  } while (colour[3] === 0 && behind);
  const ground = light(colour);
  return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
}"""

pytestmark = pytest.mark.timeout(400)


def add_kernel(lab: LabServer, name: str, **changes: object) -> None:
    """A kernel of the participant's own: the environment's, with other entries."""
    words = json.dumps(changes)
    script = f"""
import json, pathlib, subprocess, sys
listed = json.loads(subprocess.check_output(["jupyter", "kernelspec", "list", "--json"]))
spec = listed["kernelspecs"]["python3"]["spec"] | json.loads({words!r})
folder = pathlib.Path("{KERNELS}/{name}")
folder.mkdir(parents=True, exist_ok=True)
(folder / "kernel.json").write_text(json.dumps(spec))
"""
    status, out = lab.sh(f"/opt/gpucamp/base/bin/python -c {shlex.quote(script)}")
    assert status == 0, out


@pytest.fixture(scope="module")
def doctor(lab: LabServer, browser: Browser) -> Iterator[DoctorPage]:
    """Lab of a server whose kernels have markup in names and settings; one cannot start."""
    add_kernel(lab, "marked", display_name=f"Marked {MARKUP}", env={"CUDA_HOME": f"/old{MARKUP}"})
    add_kernel(
        lab,
        "broken",
        display_name=f"Broken {MARKUP}",
        argv=[f"/nowhere/{MARKUP}/python", "-m", "ipykernel", "-f", "{connection_file}"],
    )
    body = {
        "path": "train.ipynb",
        "name": "train.ipynb",
        "type": "notebook",
        "kernel": {"name": "marked"},
    }
    status, session = lab.ask("POST", "api/sessions", body)
    assert status == 201, session
    add_kernel(lab, "marked", display_name=f"Marked {MARKUP}", env={"CUDA_HOME": f"/new{MARKUP}"})
    with opened(lab, browser, DoctorPage) as shown:
        yield shown
    lab.sh(f"rm -rf {KERNELS}")


def is_text(doctor: DoctorPage) -> bool:
    return doctor.page.evaluate("window.isMarkup === undefined")


def test_a_kernel_that_runs_is_chosen_examined_and_measured_by_keyboard(doctor: DoctorPage) -> None:
    page, panel = doctor.page, doctor.panel
    doctor.command("GPU doctor")
    doctor.is_examined()

    doctor.tab_to("gpucamp-doctor-kernel")
    page.keyboard.type("train.ipynb")
    chosen = panel.get_by_role("combobox").locator("option:checked")
    expect(chosen).to_have_text(f"train.ipynb · Marked {MARKUP}")
    doctor.tab_to("gpucamp-doctor-examine")
    page.keyboard.press("Enter")
    expect(doctor.verdict).to_have_attribute("data-phase", "running")
    doctor.is_examined()
    expect(panel).to_contain_text("Kernel train.ipynb, examined just now")
    assert doctor.focused() == "gpucamp-doctor-examine"

    # what was seen unfolds, as text, and folds
    found = panel.get_by_test_id(MOVED)
    for _ in range(40):
        page.keyboard.press("Tab")
        if found.locator("summary:focus").count():
            break
    page.keyboard.press("Enter")
    expect(found.locator("pre")).to_contain_text(f"/old{MARKUP}")
    expect(found.locator("pre")).to_contain_text(f"/new{MARKUP}")
    doctor.picture("running-kernel")
    page.keyboard.press("Escape")
    expect(found.locator("pre")).to_be_hidden()
    expect(found.locator("summary")).to_be_focused()
    assert is_text(doctor)

    # measured on the CPU, it says what it skipped
    doctor.tab_to("gpucamp-performance-measure")
    page.keyboard.press("Enter")
    part = page.get_by_test_id("gpucamp-performance")
    expect(part.get_by_role("button", name="Stop measuring")).to_be_focused()
    expect(part).to_have_attribute("data-phase", "finished", timeout=120 * SECOND)
    expect(part.get_by_role("list", name="Skipped")).to_contain_text("skipped")
    expect(part.get_by_role("table", name="This server")).to_contain_text("FLOPS")
    expect(part.get_by_role("button", name="Measure again")).to_be_focused()
    part.scroll_into_view_if_needed()
    doctor.picture("measured")


def test_it_can_be_read_in_every_width_and_theme(doctor: DoctorPage) -> None:
    page, panel = doctor.page, doctor.panel
    doctor.command("GPU doctor")
    doctor.is_examined()
    for theme in ("Dark", "Light"):
        doctor.command(f"Theme: JupyterLab {theme}")
        is_light = str(theme == "Light").lower()
        expect(page.locator(f"body[data-jp-theme-light='{is_light}']")).to_have_count(1)
        expect(panel).to_be_visible()
        for button in panel.get_by_role("button").all():
            contrast = button.evaluate(CONTRAST)
            assert contrast >= 4.5, f"{button.inner_text()}, {theme}: {contrast:.1f}"
        measure = page.get_by_test_id("gpucamp-performance-measure")
        measure.hover()
        assert measure.evaluate(CONTRAST) >= 4.5, theme
        page.mouse.move(0, 0)
        doctor.picture(f"{theme.lower()}")
    page.keyboard.press("Control+B")
    for width in (640, 290):  # 1280 at 200 %; a side area of 250
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function(  # JupyterLab lays itself out after the window has changed
            "([panel, width]) => panel.clientWidth <= width", arg=[panel.element_handle(), width]
        )
        needed, shown = panel.evaluate("panel => [panel.scrollWidth, panel.clientWidth]")
        assert needed <= shown <= width, f"{needed} pixels in {shown}"
        doctor.picture(f"{width}-wide")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.keyboard.press("Control+B")


def test_it_is_suggested_once_when_a_kernel_does_not_start(doctor: DoctorPage) -> None:
    page = doctor.page
    suggestion = page.locator(".Toastify__toast", has_text="did not start")
    failure = page.locator(".jp-Dialog", has_text="Error Starting Kernel")
    another = page.locator(".jp-Dialog", has_text="Select Kernel")
    doctor.command("New Launcher")
    cards = page.locator(".jp-Launcher:visible [data-category='Notebook']")
    cards.filter(has_text="Broken").click()
    failure.get_by_role("button", name="Ok").click()
    expect(suggestion).to_have_count(1)
    doctor.picture("suggested")

    # the same once more, and it is not suggested again
    another.get_by_role("button", name="Select").click()
    failure.get_by_role("button", name="Ok").click()
    expect(suggestion).to_have_count(1)

    suggestion.get_by_role("button", name="Examine").click()
    expect(suggestion).to_have_count(0)
    doctor.is_examined()
    chosen = doctor.panel.get_by_role("combobox").locator("option:checked")
    expect(chosen).to_have_text(f"Broken {MARKUP}")
    found = doctor.panel.locator("[data-severity='blocker']").first
    found.locator("summary").click()
    expect(found.locator("pre")).to_contain_text(f"/nowhere/{MARKUP}/python")
    doctor.picture("suggestion-followed")
    assert is_text(doctor)

    # nor when the page is loaded anew
    page.reload()
    doctor.wait_for_lab()
    another.get_by_role("button", name="Select").click()
    failure.get_by_role("button", name="Ok").click()
    expect(suggestion).to_have_count(0)
