"""What a participant does, as methods: each acts in the browser and leaves a screenshot."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from playwright.sync_api import Browser, Locator, expect

SECOND = 1000  # Playwright counts milliseconds
HOME = "/home/jovyan"

expect.set_options(timeout=30 * SECOND)


class Participant:
    """One person: a browser window, a name, a password, and a look inside the container."""

    def __init__(
        self, browser: Browser, url: str, name: str, password: str, pictures: Path, wheels: Path
    ) -> None:
        self.name = name
        self.console: list[str] = []
        self._url = url
        self._password = password
        self._pictures = pictures
        self._wheels = wheels
        self._taken = 0
        self._context = browser.new_context(viewport={"width": 1280, "height": 800})
        self.page = self._context.new_page()
        self.page.set_default_timeout(30 * SECOND)
        self.page.on("console", self._hear)

    def _hear(self, message) -> None:
        if message.type == "error":
            self.console.append(message.text)

    def picture(self, title: str) -> None:
        """Save a screenshot, numbered in order."""
        self._taken += 1
        self.page.screenshot(path=self._pictures / f"{self.name}-{self._taken:02}-{title}.png")

    def leave(self) -> None:
        """A last picture and the runs' logs, for whoever looks into a failure; close the window."""
        try:
            self.picture("last")
            self._keep_logs()
        finally:
            self._context.close()

    def _keep_logs(self) -> None:
        """The logs of the DDP runs, beside the pictures."""
        runs = f"{self.container}:{HOME}/work/.gpucamp/runs"
        folder = self._pictures / f"{self.name}-runs"
        subprocess.run(["docker", "cp", runs, str(folder)], capture_output=True, timeout=60)

    # -- the hub

    def sign_in(self) -> None:
        """Sign in with name and password; also where a server runs, this ends on the hub's page."""
        self.page.goto(f"{self._url}/hub/login?next=%2Fhub%2Fhome")
        self.page.get_by_label("Username").fill(self.name)
        self.page.get_by_label("Password").fill(self._password)
        self.picture("sign-in")
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("button", name="Logout")).to_be_visible()

    def start_server(self, gpus: int) -> None:
        """Choose a number of GPUs on the form and wait for JupyterLab."""
        self.page.goto(f"{self._url}/hub/spawn")
        expect(self.page.locator("#gpucamp-free")).to_contain_text("Simulated")
        self.page.get_by_role("radio", name=re.compile(rf"^\s*{gpus} GPU")).check()
        self.picture("spawn-form")
        self.page.get_by_role("button", name="Start").click()
        self.wait_for_lab()
        for action in ("GPU doctor", "Launch DDP", "Reset environment"):
            expect(self.page.locator(".jp-LauncherCard", has_text=action)).to_be_visible()
        self.picture("lab")
        subprocess.run(
            ["docker", "cp", str(self._wheels), f"{self.container}:{HOME}/work/wheels"], check=True
        )

    def wait_for_lab(self) -> None:
        """JupyterLab is there and restored, and its status bar knows the GPU."""
        self.page.wait_for_url(re.compile(rf"/user/{self.name}/lab"), timeout=120 * SECOND)
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0, timeout=60 * SECOND)
        expect(self.page.get_by_test_id("gpucamp-status")).to_contain_text(
            "simulated", timeout=60 * SECOND
        )

    # -- the lease

    def hear_of_the_end(self) -> None:
        """JupyterLab counts down and warns; hide the warning."""
        expect(self.page.get_by_test_id("gpucamp-status")).to_contain_text("min left")
        warning = self.page.locator(".Toastify__toast", has_text="Your GPU lease ends in")
        expect(warning.get_by_role("button", name="What happens then?")).to_be_visible()
        self.picture("lease-warning")
        warning.get_by_title("Hide notification").click()
        expect(warning).to_have_count(0)

    def ask_for_help(self) -> None:
        """Raise a hand in the menu, see it in the status bar's popup, and lower it there."""
        page = self.page
        page.locator(".lm-MenuBar-itemLabel", has_text="GPU").click()
        page.locator(".lm-Menu-itemLabel", has_text="Ask for Help…").click()
        dialog = page.locator(".jp-Dialog")
        dialog.locator("input").fill("which data?")
        self.picture("ask-for-help")
        page.keyboard.press("Enter")
        toast = page.locator(".Toastify__toast", has_text="Your hand is up")
        expect(toast).to_be_visible(timeout=30 * SECOND)
        page.get_by_test_id("gpucamp-status").click()
        lower = page.get_by_test_id("gpucamp-lower-hand")
        expect(lower).to_be_visible(timeout=30 * SECOND)
        self.picture("hand-up")
        lower.click()
        expect(lower).to_have_count(0, timeout=30 * SECOND)
        page.keyboard.press("Escape")

    def extend_lease(self) -> None:
        """Extend it in the status bar's popup."""
        self.page.get_by_test_id("gpucamp-status").click()
        extend = self.page.get_by_test_id("gpucamp-lease-extend")
        expect(extend).to_have_attribute("aria-disabled", "false", timeout=90 * SECOND)
        extend.click()
        expect(self.page.get_by_test_id("gpucamp-lease-end")).to_contain_text("extended 1 time")
        self.picture("lease-extended")
        self.page.keyboard.press("Escape")

    # -- inside the container

    @property
    def container(self) -> str:
        """The name of the server's container."""
        return f"gpucamp-browser-{self.name}"

    def inside(self, command: str) -> str:
        """Output of a shell command in the container, as the participant."""
        done = subprocess.run(
            ["docker", "exec", self.container, "bash", "-c", command],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return done.stdout

    def gpus_seen_inside(self) -> list[str]:
        """UUIDs that nvidia-smi lists in the container."""
        return re.findall(r"UUID: (GPU-[0-9a-f-]+)", self.inside("nvidia-smi -L"))

    def work_files(self) -> dict[str, str]:
        """path -> SHA-256 of every file in the work folder."""
        listed = self.inside(f"cd {HOME}/work && find . -type f -print0 | xargs -0 sha256sum")
        return {line[66:]: line[:64] for line in listed.splitlines()}

    # -- JupyterLab

    def command(self, label: str) -> None:
        """Run a command from the palette, with the keyboard."""
        self.page.keyboard.press("Control+Shift+C")
        palette = self.page.locator(".jp-ModalCommandPalette, #command-palette").first
        palette.locator("input").fill(label)
        entry = palette.locator(".lm-CommandPalette-item", has_text=label).first
        expect(entry).to_be_visible()
        self.page.keyboard.press("Enter")

    def open_notebook(self) -> None:
        """A new notebook with the kernel that everyone gets."""
        self._show_launcher()
        self.page.locator(".jp-Launcher:visible [data-category='Notebook']").first.click()
        expect(self.page.locator(".jp-NotebookPanel:visible")).to_be_visible()
        kernel = self.page.locator(".jp-NotebookPanel:visible .jp-Toolbar-kernelName")
        expect(kernel).to_contain_text("PyTorch 2.9")
        status = self.page.locator(".jp-NotebookPanel:visible .jp-Notebook-ExecutionIndicator")
        expect(status).to_have_attribute("data-status", "idle", timeout=60 * SECOND)

    def _show_launcher(self) -> None:
        if not self.page.locator(".jp-Launcher:visible").count():
            self.command("New Launcher")
        expect(self.page.locator(".jp-Launcher:visible")).to_be_visible()

    def run_cell(self, code: str, expected: str) -> None:
        """Type code into the last cell, run it, and wait for what it prints."""
        cells = self.page.locator(".jp-NotebookPanel:visible .jp-CodeCell")
        cell = cells.nth(cells.count() - 1)
        cell.locator(".cm-content").click()
        self.page.keyboard.insert_text(code)
        self.page.keyboard.press("Shift+Enter")
        expect(cell.locator(".jp-OutputArea")).to_contain_text(expected, timeout=120 * SECOND)
        self.picture("notebook")

    def save_and_close_notebook(self) -> None:
        """Nothing unsaved is left, and no kernel."""
        self.page.keyboard.press("Control+S")
        rename = self.page.locator(".jp-Dialog:visible")
        self.page.wait_for_timeout(SECOND)
        if rename.count():  # JupyterLab asks for the new notebook's name
            rename.locator(".jp-mod-accept").click()
        self.command("Shut Down All Kernels")
        self.page.locator(".jp-Dialog:visible .jp-mod-accept").click()

    # -- GPU doctor

    @property
    def doctor(self) -> Locator:
        """The doctor's panel."""
        return self.page.get_by_test_id("gpucamp-doctor-panel")

    def examine(self, occasion: str) -> None:
        """Open the doctor and wait for its verdict."""
        if self.doctor.count() and self.doctor.is_visible():
            self.page.get_by_test_id("gpucamp-doctor-examine").click()
        else:
            self.command("GPU doctor")
        expect(self.page.get_by_test_id("gpucamp-doctor-verdict")).to_have_attribute(
            "data-phase", "finished", timeout=120 * SECOND
        )
        self.picture(f"doctor-{occasion.replace(' ', '-')}")

    def findings(self, severities: tuple[str, ...]) -> list[str]:
        """Test ids of the findings of these severities."""
        found = self.doctor.locator("[data-testid^='gpucamp-finding-']")
        return [
            item.get_attribute("data-testid") or ""
            for item in found.all()
            if item.get_attribute("data-severity") in severities
        ]

    # -- launch DDP

    @property
    def run_state(self) -> Locator:
        """The state of the run that is shown."""
        return self.page.locator("[data-testid='gpucamp-ddp-state']:visible").last

    @property
    def run_log(self) -> Locator:
        """Its log."""
        return self.page.locator("[data-testid='gpucamp-ddp-log']:visible").last

    def launch_ddp(self, script: str, processes: int) -> None:
        """Fill in the form and launch."""
        self.command("Launch DDP")
        form = self.page.locator("[data-testid='gpucamp-ddp-dialog']:visible")
        form.get_by_test_id("gpucamp-ddp-script").fill(script)
        form.get_by_test_id("gpucamp-ddp-processes").fill(str(processes))
        expect(form.get_by_test_id("gpucamp-ddp-command")).to_contain_text(
            f"--nproc-per-node {processes}"
        )
        self.picture("ddp-form")
        form.get_by_test_id("gpucamp-ddp-launch").click()
        expect(self.run_state).to_be_visible()

    # -- reset environment

    def reset(self) -> None:
        """Reset from JupyterLab, and be led back into it."""
        self.command("Reset environment")
        dialog = self.page.get_by_test_id("gpucamp-reset-dialog")
        dialog.get_by_test_id("gpucamp-reset-choice-new").check()
        expect(dialog).to_contain_text("1 package")
        self.picture("reset-dialog")
        self.page.get_by_test_id("gpucamp-reset-confirm").click()
        self.wait_for_operation("reset")

    def undo_reset(self, back_in: str = "lab") -> None:
        """Undo it, and be led back to that path of JupyterLab."""
        self.command("Undo last reset")
        dialog = self.page.locator(".jp-Dialog:visible")
        expect(dialog).to_contain_text("before the reset")
        self.picture("undo-dialog")
        dialog.locator(".jp-mod-warn").click()
        self.wait_for_operation("undo", back_in)

    def wait_for_operation(self, kind: str, back_in: str = "lab") -> None:
        """The progress page leads back into Lab."""
        self.page.wait_for_url(re.compile(r"/services/gpucamp/operations/"), timeout=60 * SECOND)
        self.picture(f"{kind}-progress")
        lab = re.compile(rf"/user/{self.name}/{back_in}")
        self.page.wait_for_url(lab, timeout=180 * SECOND)
        self.wait_for_lab()
        self.picture(f"{kind}-done")
