"""A reset from JupyterLab and its undo, on a real hub: what goes, what is taken along, and that the
browser is back where it was. One test, since each step stands on the one before.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PICTURES, Installation
from journey import HOME, SECOND, Participant
from playwright.sync_api import Browser, Locator, expect

from hub_ext.container_args import USER_LABEL

OWN = f"{HOME}/work/own"
# the environment's own packages, each from a wheel in the work folder
MAKE_WHEELS = f"""
import pathlib, zipfile
folder = pathlib.Path("{OWN}")
folder.mkdir(exist_ok=True)
for name in ("greeting", "farewell"):
    info = f"{{name}}-1.0.dist-info"
    files = {{
        f"{{name}}.py": f"TEXT = {{name!r}}",
        f"{{info}}/METADATA": f"Metadata-Version: 2.1\\nName: {{name}}\\nVersion: 1.0\\n",
        f"{{info}}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }}
    files[f"{{info}}/RECORD"] = "".join(f"{{path}},,\\n" for path in files)
    with zipfile.ZipFile(folder / f"{{name}}-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
"""
INSTALL = f"cd {OWN} && pip install --no-index --no-deps ./greeting-*.whl ./farewell-*.whl"
RUN_STATES = f"cat {HOME}/work/.gpucamp/runs/*/*.json"

pytestmark = pytest.mark.timeout(1200)


class Resetter(Participant):
    """A participant who resets."""

    def from_nothing(self) -> None:
        """Another test may have left a server, files, and what was open in JupyterLab."""
        self.page.goto(f"{self._url}/hub/home")
        stop = self.page.get_by_role("button", name="Stop My Server")
        if stop.is_visible():
            stop.click()
            expect(stop).to_be_hidden(timeout=90 * SECOND)
        of_mine = ["--filter", f"label={USER_LABEL}={self.name}"]
        listed = subprocess.run(
            ["docker", "volume", "ls", "-q", *of_mine], check=True, capture_output=True, text=True
        )
        for volume in listed.stdout.split():
            if volume.startswith(self.container.removesuffix(self.name)):
                subprocess.run(["docker", "volume", "rm", volume], check=True, capture_output=True)

    @property
    def dialog(self) -> Locator:
        return self.page.get_by_test_id("gpucamp-reset-dialog")

    def open_dialog(self, choice: str) -> None:
        self.command("Reset environment")
        self.dialog.get_by_test_id(f"gpucamp-reset-choice-{choice}").check()

    def confirm(self) -> None:
        self.dialog.get_by_test_id("gpucamp-reset-confirm").click()

    def told(self, text: str) -> Locator:
        """JupyterLab says it in a notification."""
        toast = self.page.locator(".Toastify__toast", has_text=text)
        expect(toast).to_be_visible(timeout=90 * SECOND)
        return toast

    def has_open(self, *names: str) -> None:
        """These tabs are there."""
        for name in names:
            tab = self.page.locator("#jp-main-dock-panel .lm-TabBar-tabLabel", has_text=name)
            expect(tab).to_have_count(1, timeout=60 * SECOND)

    def has_saved_layout(self, workspace: str, name: str) -> None:
        """JupyterLab saves a workspace a moment after it has changed."""
        saved = f"cat ~/.jupyter/lab/workspaces/{workspace}-* 2>/dev/null || true"
        for _ in range(60):
            if name in self.inside(saved):
                return
            self.page.wait_for_timeout(SECOND)
        pytest.fail(f"{name} is not in the workspace {workspace}")

    def imports(self, name: str) -> bool:
        return "works" in self.inside(f"python -c 'import {name}; print(\"works\")' 2>&1 || true")


@pytest.fixture
def ada(installation: Installation, browser: Browser, wheels: Path) -> Iterator[Resetter]:
    name = "participant2"
    password = installation.passwords()[name]
    person = Resetter(browser, installation.url, name, password, PICTURES, wheels)
    try:
        yield person
    finally:
        person.leave()


def test_a_reset_from_lab_and_back(ada: Resetter) -> None:
    page = ada.page
    ada.sign_in()
    ada.from_nothing()
    ada.start_server(gpus=1)
    ada.inside(f"python - <<'END'\n{MAKE_WHEELS}\nEND\n{INSTALL}")
    ada.inside("echo mine > ~/results.txt; echo 'alias mine=true' > ~/.mine")
    ada.inside(
        "echo 'print(1)' > ~/work/train.py; echo 'import time; time.sleep(900)' > ~/work/wait.py"
    )

    # the mildest: a kernel forgets, and nothing else happens
    ada.open_notebook()
    ada.run_cell("kept = 42; print(kept)", expected="42")
    ada.open_dialog("kernels")
    ada.picture("reset-kernels")
    ada.confirm()
    ada.told("1 kernel is restarted.")
    ada.run_cell("print('kept' in globals())", expected="False")

    # the doctor names the mildest that mends an environment without its link to the base
    ada.inside("rm ~/.venv/lib/python3*/site-packages/*.pth")
    ada.examine("without the link")
    page.get_by_test_id("gpucamp-repair-GC312").click()
    expect(ada.dialog.get_by_test_id("gpucamp-reset-choice-packages")).to_be_checked()
    expect(ada.dialog).to_contain_text("greeting 1.0, added")
    ada.picture("reset-packages")
    ada.confirm()
    ada.told("2 packages are removed.")
    assert ada.imports("torch") and not ada.imports("greeting")
    assert ada.inside("cat ~/.mine ~/results.txt") == "alias mine=true\nmine\n"
    ada.examine("with the link")
    assert ada.findings(("blocker", "degraded")) == []

    # a new one: with a run that goes on, a text that is not saved, files outside the work folder,
    # and two packages to be there again, of which one cannot
    ada.inside(INSTALL)
    ada.inside(f"echo broken > {OWN}/farewell-1.0-py3-none-any.whl")
    ada.launch_ddp("wait.py", processes=1)
    expect(ada.run_state).to_have_text(re.compile("running", re.IGNORECASE), timeout=60 * SECOND)
    page.goto(re.sub(r"/lab.*", "/lab/tree/train.py", page.url))
    ada.wait_for_lab()
    page.locator(".jp-FileEditor:visible .cm-content").click()
    page.keyboard.press("Control+Home")
    page.keyboard.insert_text("# typed\n")
    ada.open_dialog("new")
    expect(ada.dialog.get_by_role("checkbox", name="Move results.txt")).to_be_checked()
    for name in ("greeting", "farewell"):
        ada.dialog.get_by_role("checkbox", name=f"Install {name} again").check()
    expect(ada.dialog.get_by_test_id("gpucamp-reset-confirm")).to_be_disabled()
    ada.dialog.get_by_test_id("gpucamp-reset-end-runs").check()
    ada.picture("reset-new")
    ada.confirm()
    ada.wait_for_operation("reset-new")

    # back where one was
    ada.has_open("train.py", "Untitled.ipynb", "GPU doctor")
    toast = ada.told("1 of 2 packages are installed again. Not installed: farewell.")
    ada.picture("reset-again")
    toast.get_by_role("button", name="Package by package").click()
    reasons = page.locator(".jp-Dialog:visible")
    expect(reasons).to_contain_text("greeting: installed")
    expect(reasons).to_contain_text(re.compile(r"farewell: not installed\. \w"))
    ada.picture("reset-again-reasons")
    page.keyboard.press("Escape")
    expect(toast.get_by_role("button", name="Got it")).to_be_visible()
    toast.get_by_title("Hide notification").click()
    assert ada.imports("torch") and ada.imports("greeting") and not ada.imports("farewell")
    assert (
        ada.inside("cat ~/work/from-home/results.txt; head -1 ~/work/train.py") == "mine\n# typed\n"
    )
    assert ada.inside("ls ~/.mine ~/results.txt 2>/dev/null || true") == ""
    assert '"stopped"' in ada.inside(RUN_STATES)

    # undo brings all of it back, and leads to the workspace that one is in
    page.goto(re.sub(r"/lab.*", "/lab/workspaces/side/tree/wait.py", page.url))
    ada.wait_for_lab()
    ada.has_open("wait.py")
    ada.has_saved_layout("side", "wait.py")
    ada.undo_reset(back_in="lab/workspaces/side")
    ada.has_open("wait.py")
    assert ada.imports("greeting") and ada.imports("farewell")
    assert ada.inside("cat ~/.mine") == "alias mine=true\n"

    # a reset from outside of Lab begins with an empty page: it has to mend a layout, too
    page.goto(re.sub(r"/user/.*", "/services/gpucamp/", page.url))
    page.get_by_role("button", name="Reset environment…").click()
    page.get_by_role("dialog").get_by_role("button", name="Reset environment").click()
    ada.wait_for_operation("reset-outside")
    expect(page.locator("#jp-main-dock-panel .lm-TabBar-tabLabel")).to_have_text(["Launcher"])
    expect(page.locator(".Toastify__toast", has_text="installed again")).to_have_count(0)

    # from here on there are two to go back to
    ada.command("Undo last reset")
    undo = page.get_by_test_id("gpucamp-undo-dialog")
    expect(undo.get_by_role("radio")).to_have_count(2)
    undo.get_by_role("radio", name="Environment 2").check()
    ada.picture("undo-of-two")
    undo.get_by_role("button", name="Save all and undo").click()
    ada.wait_for_operation("undo-of-two")
    assert ada.imports("greeting") and not ada.imports("farewell")
