"""Launch DDP in JupyterLab: from the editor's toolbar to charts, ranks and the log; launches that
are offered again; kernels in the way; a hang; and all of it in Chinese.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import docker
import pytest
from ddp_page import DdpPage
from lab_page import SECOND, opened
from lab_server import LabServer
from playwright.sync_api import Browser, expect

pytestmark = pytest.mark.timeout(400)

TRAIN = """
import os, sys, time
from tqdm import tqdm
rank = int(os.environ["RANK"])
print(f"seed={os.environ.get('SEED', '3')} <b>not bold</b>", flush=True)
for step in tqdm(range(30), disable=rank != 0):
    print(f"step={step} loss={1 / (step + 1):.4f} acc={step / 30:.3f}", flush=True)
    time.sleep(0.1)
"""
HANG = """
import time
import torch.distributed as dist
dist.init_process_group("gloo")
if dist.get_rank() == 1:
    time.sleep(600)
dist.barrier()
"""
FLOOD = """
import os, sys
rank = os.environ["RANK"]
for number in range(2000):
    block = "".join(f"{rank} {number:06d} {at:03d} ".ljust(99, "x") + "\\n" for at in range(100))
    sys.stdout.write(block)
print("the end", flush=True)
"""
FLOOD_MB = 2 * 2000 * 100 * 100 / 1e6
SETTINGS = "/home/jovyan/.jupyter/lab/user-settings/@jupyterlab/translation-extension"


@pytest.fixture(scope="module")
def ddp_lab(engine: docker.DockerClient, image: str) -> Iterator[LabServer]:
    """A server that looks for a hang after ten seconds, with two scripts."""
    with LabServer.serving(engine, image, {"GPUCAMP_DDP_QUIET": "10"}) as server:
        for name, text in {"train.py": TRAIN, "hang.py": HANG, "flood.py": FLOOD}.items():
            server.ok(f"cat > {name} <<'END'\n{text}\nEND")
        server.ok("mkdir runs")
        yield server


def test_from_the_editor_to_the_numbers(ddp_lab: LabServer, browser: Browser) -> None:
    with opened(ddp_lab, browser, DdpPage, path="lab/tree/train.py") as ddp:
        page = ddp.page
        page.locator(".jp-Toolbar:visible [data-jp-item-name='gpucamp-launch-ddp']").click()
        expect(ddp.form.get_by_test_id("gpucamp-ddp-script")).to_have_value("train.py")
        ddp.form.get_by_test_id("gpucamp-ddp-more").click()
        ddp.form.get_by_test_id("gpucamp-ddp-variables").fill("SEED=11")
        expect(ddp.form.get_by_test_id("gpucamp-ddp-planned-trackers")).to_contain_text(
            "TensorBoard (runs)"
        )
        ddp.picture("form")
        ddp.launch()
        ddp.ends("succeeded")

        # charts of both names; the numbers that count steps are none
        charts = ddp.part("metrics").locator("figure")
        expect(charts).to_have_count(2)
        for chart, name in zip(charts.all(), ("loss", "acc"), strict=True):
            expect(chart).to_contain_text(name)
            assert (chart.locator("svg path").get_attribute("d") or "").count("L") > 10
        # the image has no TensorBoard, and that is said with what to do
        expect(ddp.part("tracker-states")).to_contain_text("pip install tensorboard")
        expect(ddp.part("usage")).to_contain_text("rank 1")
        expect(ddp.run).to_contain_text("seed: 11")

        # the log: a bar is one line; markup is text; one rank, and lines with some text
        log = ddp.part("log")
        expect(log).to_contain_text("<b>not bold</b>")
        assert log.locator("b", has_text="not bold").count() == 0
        found = ddp.run.get_by_role("search").get_by_role("status")
        for rank in ("0", "1"):  # of rank 0 between two drawings of the bar
            ddp.part("log-rank").select_option(rank)
            ddp.part("log-search").fill("step=29")
            expect(found).to_have_text("1 line")
            ddp.part("log-search").fill("loss=")
            expect(found).to_have_text("30 lines")
        ddp.part("log-rank").select_option("0")
        ddp.part("log-search").fill("it/s]")
        expect(found).to_have_text("1 line")
        ddp.picture("run")


def test_an_earlier_launch_fills_in_the_form_and_is_drawn_beside(
    ddp_lab: LabServer, browser: Browser
) -> None:
    with opened(ddp_lab, browser, DdpPage) as ddp:
        ddp.open_form("train.py")
        earlier = ddp.form.get_by_test_id("gpucamp-ddp-recent").get_by_role("button")
        expect(earlier).to_contain_text("SEED=11")
        earlier.click()
        expect(ddp.form.get_by_test_id("gpucamp-ddp-variables")).to_have_value("SEED=11")
        expect(ddp.form.get_by_test_id("gpucamp-ddp-more")).to_contain_text("1 made")
        ddp.form.get_by_test_id("gpucamp-ddp-more").click()
        ddp.form.get_by_test_id("gpucamp-ddp-trackers").select_option("none")
        expect(ddp.form.get_by_test_id("gpucamp-ddp-planned-trackers")).to_have_count(0)
        ddp.launch()
        ddp.ends("succeeded")
        expect(ddp.part("tracker-states")).to_have_count(0)
        other = ddp.run.get_by_label("Compare with")
        other.focus()
        expect(other.locator("option")).to_have_count(2)
        other.select_option(index=1)
        expect(ddp.part("metrics").locator("path.gpucamp-mod-other")).to_have_count(2)
        ddp.picture("compared")


def test_a_kernel_that_holds_memory_is_named_and_shut_down(
    ddp_lab: LabServer, browser: Browser
) -> None:
    body = {"path": "big.ipynb", "name": "big.ipynb", "type": "notebook"}
    status, session = ddp_lab.ask("POST", "api/sessions", {**body, "kernel": {"name": "python3"}})
    assert status == 201, session
    with opened(ddp_lab, browser, DdpPage) as ddp:
        ddp.open_form("train.py")
        kernels = ddp.form.get_by_test_id("gpucamp-ddp-kernels")
        expect(kernels).to_contain_text("1 kernel of yours runs")
        kernels.locator("summary").click()
        kernels.get_by_role("checkbox", name="big.ipynb").check()
        ddp.picture("kernels")
        kernels.get_by_test_id("gpucamp-ddp-kernels-end").click()
        dialog = ddp.page.locator(".jp-Dialog")
        expect(dialog).to_contain_text("Variables that are not saved are lost")
        dialog.get_by_role("button", name="Shut down").click()
        expect(kernels).to_have_count(0)
    assert ddp_lab.ask("GET", "api/kernels") == (200, [])


def test_a_hang_is_explained_and_ended(ddp_lab: LabServer, browser: Browser) -> None:
    with opened(ddp_lab, browser, DdpPage) as ddp:
        ddp.open_form("hang.py")
        ddp.launch()
        hang = ddp.part("hang")
        expect(hang).to_contain_text("Rank 1 sleeps", timeout=120 * SECOND)
        expect(hang).to_contain_text("hang.py:6")
        hang.get_by_text("Where each rank stands").click()
        ddp.picture("hang")
        ddp.run.get_by_role("button", name="Stop").click()
        ddp.page.locator(".jp-Dialog").get_by_role("button", name="Stop").click()
        ddp.ends("stopped")
        ddp.picture("stopped")
    left = ddp_lab.ok("pgrep -fc '[h]ang.py' || true")
    assert left.strip() == "0", left


def test_a_flood_of_lines_is_bounded_in_the_browser(ddp_lab: LabServer, browser: Browser) -> None:
    with opened(ddp_lab, browser, DdpPage) as ddp:
        devtools = ddp.page.context.new_cdp_session(ddp.page)
        devtools.send("Performance.enable")

        def held_bytes() -> float:
            devtools.send("HeapProfiler.collectGarbage")
            metrics = devtools.send("Performance.getMetrics")["metrics"]
            return {one["name"]: one["value"] for one in metrics}["JSHeapUsedSize"]

        ddp.open_form("flood.py")
        before = held_bytes()
        ddp.launch()
        ddp.ends("succeeded")
        expect(ddp.part("log")).to_contain_text("the end")
        grown = (held_bytes() - before) / 1e6
        ddp.picture("flood")
        assert ddp.part("log").locator("> *").count() < 5000
    assert grown < FLOOD_MB / 2, f"{grown:.0f} MB more for {FLOOD_MB:.0f} MB of log"


def test_in_chinese(ddp_lab: LabServer, browser: Browser) -> None:
    words = json.dumps({"locale": "zh_CN"})
    ddp_lab.ok(f"mkdir -p {SETTINGS} && echo '{words}' > {SETTINGS}/plugin.jupyterlab-settings")
    try:
        with opened(ddp_lab, browser, DdpPage) as ddp:
            ddp.page.locator(".jp-LauncherCard", has_text="DDP").click()
            ddp.form.get_by_test_id("gpucamp-ddp-script").fill("hang.py")
            expect(ddp.form).to_contain_text("更多选项")
            ddp.form.get_by_test_id("gpucamp-ddp-more").click()
            expect(ddp.form.get_by_test_id("gpucamp-ddp-command")).to_contain_text("torchrun")
            ddp.picture("form-zh")
            ddp.form.get_by_test_id("gpucamp-ddp-script").fill("train.py")
            ddp.launch()
            ddp.ends("succeeded")
            expect(ddp.part("tracker-states")).to_contain_text("未安装")
            ddp.picture("run-zh")
    finally:
        ddp_lab.ok(f"rm -rf {SETTINGS}")
