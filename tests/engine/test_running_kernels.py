"""Running kernels in the real image: the real torch is imported and replaced, libraries are deleted
under it; where a card is needed, its torch is a stand-in.
"""

from __future__ import annotations

import json
import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from lab_server import LabServer

EXAMINATIONS = "gpucamp/doctor/examinations"
REPAIRS = "gpucamp/doctor/repairs"
SITE = "/home/jovyan/.venv/lib/python3.11/site-packages"

pytestmark = pytest.mark.timeout(300)

RUN = """
import pathlib, sys
from jupyter_client import BlockingKernelClient
lines = [path.read_text().split("\\0") for path in pathlib.Path("/proc").glob("[0-9]*/cmdline")]
(file,) = {word for line in lines for word in line if word.endswith(f"kernel-{sys.argv[1]}.json")}
client = BlockingKernelClient(connection_file=file)
client.load_connection_file()
client.start_channels()
reply = client.execute(sys.argv[2], reply=True, timeout=100)["content"]
client.stop_channels()
sys.exit("\\n".join(reply.get("traceback", [])) if reply["status"] != "ok" else 0)
"""
# a torch that says that it holds 31 GiB of a device, in a program that has the driver loaded
TORCH = """
import mmap, os, sys, types
for name in ("libcuda.so.1", "libtorch_cpu.so"):
    open("/tmp/" + name, "ab").write(b"x" * 4096)
    file = open("/tmp/" + name, "rb")
    globals()["_" + name] = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
torch = types.ModuleType("torch")
torch.__version__ = "2.9.1"
torch.version = types.SimpleNamespace(cuda="12.8")
torch.backends = types.SimpleNamespace(cudnn=types.SimpleNamespace(benchmark=False))
torch.cuda = types.SimpleNamespace(
    is_initialized=lambda: True,
    device_count=lambda: 1,
    memory_stats=lambda index: {"reserved_bytes.all.current": 31 << 30},
    get_device_properties=lambda index: types.SimpleNamespace(total_memory=40 << 30, uuid=""),
    current_stream=lambda index: types.SimpleNamespace(query=lambda: True),
)
sys.modules["torch"] = torch
"""


def open_notebook(lab: LabServer, path: str) -> str:
    """The id of its kernel."""
    body = {"path": path, "type": "notebook", "kernel": {"name": "python3"}}
    status, session = lab.ask("POST", "api/sessions", body)
    assert status == 201, session
    return str(session["kernel"]["id"])


def run(lab: LabServer, kernel: str, cell: str) -> None:
    """Runs a cell to its end, and until the server has heard that the kernel is idle: what a kernel
    publishes before the server listens is lost, and it says it again whatever it is asked next.
    """
    _ask_kernel(lab, kernel, cell)
    deadline = time.monotonic() + 60
    while lab.ask("GET", f"api/kernels/{kernel}")[1]["execution_state"] != "idle":
        assert time.monotonic() < deadline, "the server does not hear the kernel"
        time.sleep(0.2)
        _ask_kernel(lab, kernel, "")


def _ask_kernel(lab: LabServer, kernel: str, cell: str) -> None:
    words = " ".join(shlex.quote(word) for word in (RUN, kernel, cell))
    lab.ok(f"/opt/gpucamp/base/bin/python -c {words}")


def examine(lab: LabServer, **body: str) -> dict[str, Any]:
    status, events = lab.ask("POST", EXAMINATIONS, body)
    assert status == 200, events
    return events[-1]["report"]


def mend(lab: LabServer, report: dict[str, Any], code: str) -> dict[str, Any]:
    """Does what is offered for a code of the last report, this one: the code goes, and nothing is
    new; the report after it.
    """
    status, answer = lab.ask("GET", REPAIRS)
    assert status == 200, answer
    (repair,) = [each for each in answer["repairs"] if each["code"] == code]
    consent = {"code": code, "command": repair["command"]}
    status, events = lab.ask("POST", REPAIRS, consent)
    assert status == 200 and events[-1]["event"] == "finished", events
    after = events[-1]["report"]
    assert code not in codes(after) and not codes(after) - codes(report), after["findings"]
    return after


def codes(report: dict[str, Any]) -> set[str]:
    return {finding["code"] for finding in report["findings"]}


def test_the_panel_and_a_terminal_examine_at_once(lab: LabServer) -> None:
    with ThreadPoolExecutor(1) as threads:
        terminal = threads.submit(lab.ok, "gpucamp-doctor --json; true")
        reports = [examine(lab, kernel="python3"), json.loads(terminal.result())]
    alone = codes(examine(lab, kernel="python3"))
    for report in reports:
        assert codes(report) == alone, report["findings"]
    kept = json.loads(lab.ok("cat ~/work/.gpucamp/doctor-report.json"))
    assert codes(kept) == alone


def test_a_kernel_that_has_imported_the_real_torch(lab: LabServer) -> None:
    healthy = codes(examine(lab, kernel="python3"))
    kernel = open_notebook(lab, "a.ipynb")
    lab.ok(
        f"mkdir -p {SITE}/mine /tmp/cuda; echo 'int x;' > /tmp/x.c; "
        f"gcc -shared -o {SITE}/mine/mine.so /tmp/x.c; "
        "gcc -shared -Wl,-soname,libcudart.so.12 -o /tmp/cuda/libcudart.so.12 /tmp/x.c",
    )
    run(lab, kernel, f"import ctypes, torch; ctypes.CDLL('{SITE}/mine/mine.so'); torch.ones(2) + 1")
    report = examine(lab, kernel_id=kernel)
    assert codes(report) == healthy, report["findings"]
    assert report["facts"]["asked"]["value"]["modules"]["torch"]["version"] == "2.9.1+cu128"
    loaded = [item["path"] for item in report["facts"]["running"]["value"]["libraries"]]
    assert any(path.endswith("/torch/lib/libtorch_cuda.so") for path in loaded), loaded

    run(lab, kernel, "ctypes.CDLL('/tmp/cuda/libcudart.so.12')")
    stub = "__version__ = '2.14.0'; zeros = None; version = None"
    lab.ok(f"rm -r {SITE}/mine; echo {shlex.quote(stub)} > {SITE}/torch.py")
    report = examine(lab, kernel_id=kernel)
    assert {"GC711", "GC712", "GC713"} <= codes(report), report["findings"]
    found = {finding["code"]: finding for finding in report["findings"]}
    assert found["GC711"]["params"] == {"packages": "torch 2.9.1+cu128"}
    assert found["GC712"]["evidence"] == [f"{SITE}/mine/mine.so"]
    assert "/tmp/cuda/libcudart.so.12" in found["GC713"]["evidence"]

    # one restart mends all three: what is installed now is what it gets
    after = mend(lab, report, "GC712")
    assert after["kernel_id"] == kernel
    run(lab, kernel, "import torch")
    assert not {"GC711", "GC712", "GC713"} & codes(examine(lab, kernel_id=kernel))
    lab.ok(f"rm {SITE}/torch.py")


def test_a_kernel_whose_torch_has_a_device(lab: LabServer) -> None:
    holder, other = open_notebook(lab, "holder.ipynb"), open_notebook(lab, "other.ipynb")
    run(lab, holder, TORCH + "os.environ['CUDA_VISIBLE_DEVICES'] = '-1'")
    run(lab, other, "1")
    script = TORCH + "import time; time.sleep(600)"
    lab.ok(f"setsid -f python -c {shlex.quote(script)} > /dev/null; sleep 1")
    report = examine(lab, kernel_id=holder)
    assert "GC721" in codes(report), report["findings"]
    assert "GC732" not in codes(report)
    mend(lab, report, "GC721")
    run(lab, holder, TORCH)
    report = examine(lab, kernel_id=other)
    found = {finding["code"]: finding for finding in report["findings"]}
    assert {"GC732", "GC733"} <= set(found), report["findings"]
    assert found["GC732"]["params"] == {"memory": "31.0 GiB", "kernels": "holder.ipynb"}
    # as they say: shut that kernel down, end the program
    delete(lab, holder)
    lab.ok(found["GC733"]["command"])
    maps = f"/proc/{found['GC733']['params']['pids']}/maps"
    lab.ok(f"timeout 20 bash -c 'while grep -sq libcuda {maps}; do sleep 0.1; done'")
    assert not {"GC732", "GC733"} & codes(examine(lab, kernel_id=other))


# takes whatever the container has left of threads, also what becomes free
GREEDY = """
import threading, time
def take(taken=0):
    while taken < 400:
        try:
            threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
            taken += 1
        except RuntimeError:
            full.set()
            time.sleep(0.02)
full = threading.Event()
threading.Thread(target=take, daemon=True).start()
assert full.wait(60)
"""


def limit_pids(lab: LabServer, most: int) -> None:
    """Of a container that runs; -1: no limit."""
    api = lab.container.client.api
    url = api._url("/containers/{0}/update", lab.container.id)
    api._post_json(url, data={"PidsLimit": most}).raise_for_status()


def test_a_container_that_kernels_fill(lab: LabServer) -> None:
    kernel = open_notebook(lab, "greedy.ipynb")
    run(lab, kernel, "1")
    before = examine(lab, kernel="python3")
    used = lab.ok("cat /sys/fs/cgroup/{,pids/}pids.current 2> /dev/null; true")
    limit_pids(lab, int(used.split()[-1]) + 200)
    try:
        run(lab, kernel, GREEDY)
        report = examine(lab, kernel="python3")
        found = {finding["code"]: finding for finding in report["findings"]}
        assert "GC903" in found, report["findings"]
        assert found["GC903"]["repair"]["kind"] == "kernels"
        delete(lab, kernel)
        assert codes(examine(lab, kernel="python3")) == codes(before)
    finally:
        limit_pids(lab, -1)


def delete(lab: LabServer, kernel: str) -> None:
    """As JupyterLab shuts down what is chosen in the list of kernels."""
    assert lab.ask("DELETE", f"api/kernels/{kernel}")[0] == 204
