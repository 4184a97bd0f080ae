"""When a rank's first line is on the screen, in a real browser: part of `make perf-ddp`.

From the press of Launch in JupyterLab's form until the line is in the page, by the browser's own
clock; beside it the same command in a terminal of the same container, until the line leaves its
pipe. In turn, on a server with practice devices.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import sync_playwright

TESTS = Path(__file__).parents[1]
# the browser tests' conftest.py, not the engine tests'
sys.path[:0] = [str(TESTS / "browser"), str(TESTS / "engine")]

from conftest import ARGUMENTS, CHROMIUM
from ddp_page import DdpPage
from lab_page import opened
from lab_server import LabServer

SCRIPT = "first_line.py"
# as every training does: torch first; then a word that no run before it had
PRINTS = "import sys, torch\nprint(f'first line of {sys.argv[1]}', flush=True)\n"
# milliseconds from the press of the button until the text is in a log of the page
AIM = 1.1  # of the terminal's time
WATCH = """text => {
  let pressed = NaN;
  const button = '[data-testid="gpucamp-ddp-launch"]', log = '[data-testid="gpucamp-ddp-log"]';
  const press = event => { if (event.target.closest(button)) pressed = performance.now(); };
  document.addEventListener('click', press, { capture: true });
  window.firstLine = new Promise(resolve => {
    new MutationObserver((changes, observer) => {
      if (![...document.querySelectorAll(log)].some(one => one.textContent.includes(text))) return;
      observer.disconnect();
      document.removeEventListener('click', press, { capture: true });
      resolve(performance.now() - pressed);
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
}"""


def in_browser(ddp: DdpPage, word: str) -> float:
    """Seconds of one launch."""
    ddp.open_form(SCRIPT)
    ddp.form.get_by_test_id("gpucamp-ddp-arguments").fill(word)
    ddp.page.evaluate(WATCH, f"first line of {word}")
    ddp.launch()
    milliseconds = ddp.page.evaluate("window.firstLine")
    ddp.ends("succeeded")
    return float(milliseconds) / 1000


def measure(lab: LabServer, terminal: Callable[[str, str], float], rounds: int) -> str:
    """The figures in Markdown. terminal: script and word -> seconds."""
    lab.ok(f"cat > {SCRIPT} <<'END'\n{PRINTS}END")
    ours, theirs = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        with opened(lab, browser, DdpPage) as ddp:
            for number in range(rounds + 1):  # the first warms up and is not counted
                turns = [in_browser(ddp, f"browser-{number}"), terminal(SCRIPT, f"shell-{number}")]
                if number:
                    ours.append(turns[0])
                    theirs.append(turns[1])
        browser.close()
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return (
        "| median | real browser | terminal | ratio | aim |\n|---|---|---|---|---|\n"
        f"| first line of a rank | {statistics.median(ours):.2f} s "
        f"| {statistics.median(theirs):.2f} s | {ratio:.3f} | {AIM} |"
    )
