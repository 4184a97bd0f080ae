"""Launch DDP with real torchrun, in the real image, through the real server and in a terminal."""

from __future__ import annotations

import http.client
import io
import re
import shlex
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from hub_of_one import HubOfOne
from lab_server import USER, LabServer

UNIT = Path(__file__).parents[1] / "unit" / "ddp"
ALIVE = ("starting", "running")

pytestmark = pytest.mark.timeout(300)


class Lab(LabServer):
    """With test scripts to launch."""

    def put(self, *folders: Path) -> None:
        """Copy scripts of this repository to ~/work/<folder>."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for folder in folders:
                for path in folder.glob("*.py"):
                    member = tarfile.TarInfo(f"{folder.name}/{path.name}")
                    data = path.read_bytes()
                    member.size, member.uid, member.gid, member.mode = len(data), 1000, 100, 0o644
                    tar.addfile(member, io.BytesIO(data))
        assert self.container.put_archive("/home/jovyan/work", archive.getvalue())

    def launch(self, script: str, *arguments: str, processes: int = 2) -> dict[str, Any]:
        status, run = self.ask(
            "POST",
            "gpucamp/ddp/runs",
            {"script": script, "arguments": list(arguments), "processes": processes},
        )
        assert status == 201, run
        return run

    def log(self, run: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The whole log and the run after its end."""
        status, events = self.ask("GET", f"gpucamp/ddp/runs/{run['id']}/log")
        assert status == 200
        assert events[-1]["event"] == "end"
        return "".join(event["text"] for event in events[:-1]), events[-1]["run"]

    def until_ranks(self, run: dict[str, Any], count: int) -> None:
        deadline = time.monotonic() + 60
        while len(self.ask("GET", f"gpucamp/ddp/runs/{run['id']}")[1]["ranks"]) < count:
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def until_log_says(self, run: dict[str, Any], word: str) -> None:
        deadline = time.monotonic() + 60
        while self.sh(f"grep -q {word} .gpucamp/runs/{run['id']}/run.log")[0] != 0:
            assert time.monotonic() < deadline
            time.sleep(0.3)

    def processes_of(self, script: str) -> str:
        """Command lines that name the script, this look excepted."""
        found = [f"[{script[0]}]{script[1:]}"]
        return self.sh(f"ps -eo pid,args | grep -- {shlex.quote(found[0])}")[1]


@pytest.fixture(scope="module")
def lab(engine: docker.DockerClient, image: str) -> Iterator[Lab]:
    with HubOfOne(USER) as hub:
        made = Lab(engine, image, hub)
        try:
            made.start()
            made.put(UNIT / "failures", UNIT / "healthy")
            made.sh(f"cat > stubborn.py <<'END'\n{STUBBORN}\nEND")
            yield made
        finally:
            made.discard()


STUBBORN = """
import signal, subprocess, sys, time
import torch.distributed as dist
signal.signal(signal.SIGTERM, signal.SIG_IGN)
dist.init_process_group("gloo")
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600) # stubborn.py"],
                 start_new_session=True)
print("ready", flush=True)
time.sleep(600)
"""


def test_the_example_gives_the_same_result_each_time(lab: Lab) -> None:
    assert lab.ask("GET", "gpucamp/ddp/defaults")[1]["processes"] == 2
    results = []
    for _ in range(2):
        begun = time.monotonic()
        text, run = lab.log(lab.launch("examples/train_ddp.py"))
        assert (run["state"], run["diagnosis"]) == ("succeeded", None), text
        assert time.monotonic() - begun < 60
        assert text.count("running on the CPU") == 2
        results += re.findall(r"^result: .*", text, re.MULTILINE)
    assert len(results) == 2 and results[0] == results[1]
    assert float(results[0].rpartition("accuracy=")[2]) > 0.9
    assert lab.sh("test -s examples/train_ddp.pt")[0] == 0


def test_the_command_shown_is_the_command_run_and_works_in_a_terminal(lab: Lab) -> None:
    body = {"script": "examples/train_ddp.py", "arguments": ["--epochs", "1"], "processes": 2}
    _, plan = lab.ask("POST", "gpucamp/ddp/plan", body)
    assert plan["command"].startswith("torchrun ")
    assert lab.sh("command -v torchrun")[1].strip() == "/home/jovyan/.venv/bin/torchrun"
    _, run = lab.ask("POST", "gpucamp/ddp/runs", {**body, "id": plan["id"]})
    arguments = lab.sh(f"tr '\\0' ' ' < /proc/$(pgrep -f -o {plan['id']})/cmdline")[1]
    assert arguments.strip().endswith(plan["command"].removeprefix("torchrun "))
    expected = re.findall(r"^result: .*", lab.log(run)[0], re.MULTILINE)
    status, output = lab.sh(plan["terminal_command"])
    assert status == 0, output
    assert expected[0] in output


def test_the_single_gpu_examples(lab: Lab) -> None:
    outputs = [lab.sh("python examples/train_single.py") for _ in range(2)]
    assert outputs[0] == outputs[1]
    assert outputs[0][0] == 0 and "running on the CPU" in outputs[0][1]
    status, output = lab.sh(
        "/opt/gpucamp/base/bin/jupyter nbconvert --to notebook --execute --stdout "
        "examples/train_single.ipynb"
    )
    assert status == 0, output
    assert outputs[0][1].splitlines()[-1] in output  # the same result as the script's


# All of failures/ were recorded (tests/unit/ddp); these show that it is so in the image, too.
FAILURES = ["killed", "module-missing", "unused-parameters", "peer-left"]


@pytest.mark.fault(19)
@pytest.mark.parametrize("name", FAILURES)
def test_failures_are_explained(lab: Lab, name: str) -> None:
    text, run = lab.log(lab.launch(f"failures/{name}.py"))
    assert run["state"] == "failed", text
    assert run["diagnosis"]["code"] == name
    assert run["diagnosis"]["cause"] and run["diagnosis"]["fix"]


@pytest.mark.parametrize(
    "path", sorted((UNIT / "healthy").glob("*.py")), ids=lambda path: path.stem
)
def test_what_ends_well_gets_no_diagnosis(lab: Lab, path: Path) -> None:
    text, run = lab.log(lab.launch(f"healthy/{path.name}"))
    assert (run["state"], run["diagnosis"], run["exit_code"]) == ("succeeded", None, 0), text


@pytest.mark.fault(19)
def test_stop_leaves_no_rank_however_stubborn(lab: Lab) -> None:
    run = lab.launch("stubborn.py")
    lab.until_ranks(run, 2)
    begun = time.monotonic()
    assert lab.ask("POST", f"gpucamp/ddp/runs/{run['id']}/stop")[0] == 202
    _, ended = lab.log(run)
    assert (ended["state"], ended["survivors"]) == ("stopped", [])
    assert time.monotonic() - begun < 20
    assert lab.processes_of("stubborn.py") == ""


@pytest.mark.fault(19)
def test_ranks_of_a_killed_torchrun_are_ended(lab: Lab) -> None:
    run = lab.launch("stubborn.py")
    lab.until_ranks(run, 2)
    lab.until_log_says(run, "ready")  # they have children of their own now
    assert lab.sh(f"kill -KILL $(pgrep -f -o {run['id']})")[0] == 0
    _, ended = lab.log(run)
    assert (ended["state"], ended["exit_code"]) == ("failed", -9)
    assert ended["diagnosis"]["code"] == "launcher-killed"
    assert lab.processes_of("stubborn.py") == ""


def test_in_a_terminal(lab: Lab) -> None:
    status, output = lab.sh("gpucamp-ddp --processes 2 examples/train_ddp.py --epochs 1")
    assert status == 0, output
    assert "[rank 0] result: loss=" in output and "succeeded" in output
    status, output = lab.sh("gpucamp-ddp failures/exception.py")
    assert status == 1
    assert "Rank 1 ended with ValueError: batch 7 is bad: naïve ✓" in output
    status, output = lab.sh("gpucamp-ddp --processes 1000 examples/train_ddp.py")
    assert status == 2 and "from 1 to 2" in output
    status, output = lab.sh("gpucamp-ddp missing.py")
    assert status == 2 and "does not exist" in output
    states = {run["state"] for run in lab.ask("GET", "gpucamp/ddp/runs")[1]["runs"]}
    assert states.isdisjoint(ALIVE)


def test_ctrl_c_in_a_terminal(lab: Lab) -> None:
    ended: list[tuple[int, str]] = []
    terminal = threading.Thread(
        target=lambda: ended.append(lab.sh("exec gpucamp-ddp -n 2 stubborn.py"))
    )
    terminal.start()
    deadline = time.monotonic() + 60
    while True:
        runs = lab.ask("GET", "gpucamp/ddp/runs")[1]["runs"]
        if runs[0]["script"] == "stubborn.py" and len(runs[0]["ranks"]) == 2:
            break
        assert time.monotonic() < deadline
        time.sleep(0.3)
    assert lab.sh("kill -INT $(pgrep -f -o 'gpucamp-ddp -n')")[0] == 0
    terminal.join(60)
    assert ended and ended[0][0] == 130, ended
    assert lab.processes_of("stubborn.py") == ""
    assert lab.ask("GET", f"gpucamp/ddp/runs/{runs[0]['id']}")[1]["state"] == "stopped"


def test_the_owner_hears_that_the_service_is_down(lab: Lab) -> None:
    for method in ("GET", "POST"):
        status, answer = lab.ask(method, "gpucamp/reset", {} if method == "POST" else None)
        assert status == 503, answer
        assert "/services/gpucamp/" in answer["message"]


def test_a_run_whose_container_ended_is_remembered(lab: Lab) -> None:
    run = lab.launch("stubborn.py")
    lab.until_ranks(run, 2)
    lab.until_log_says(run, "ready")
    lab.container.restart(timeout=1)
    lab.start()
    status, found = lab.ask("GET", f"gpucamp/ddp/runs/{run['id']}")
    assert (status, found["state"]) == (200, "lost")
    assert found["diagnosis"]["code"] == "server-ended"
    text, _ = lab.log(run)
    assert "ready" in text


@pytest.mark.fault(18)
def test_the_log_is_the_owners_alone(lab: Lab) -> None:
    run = lab.launch("stubborn.py")
    lab.until_ranks(run, 2)
    path = f"/user/{USER}/gpucamp/ddp/runs/{run['id']}/log"
    for headers in ({}, {"Authorization": "token of-somebody-else"}):
        connection = http.client.HTTPConnection("127.0.0.1", lab.port, timeout=60)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        assert answer.status in (302, 403), answer.status
        assert b"ready" not in answer.read()
        connection.close()
    lab.ask("POST", f"gpucamp/ddp/runs/{run['id']}/stop")
    lab.log(run)


ENDLESS = """
import os
if os.environ["RANK"] == "0":
    for _ in range(1024):
        os.write(1, b"x" * 2**20)  # one line of 1 GiB
"""


@pytest.mark.fault(18)
@pytest.mark.timeout(600)  # a gigabyte passes through torchrun, line by line
def test_an_endless_line_and_a_reader_who_does_not_read_cost_no_memory(lab: Lab) -> None:
    lab.sh(f"cat > endless.py <<'END'\n{ENDLESS}\nEND")
    memory = "grep VmRSS /proc/$(pgrep -f -o serve.py)/status"
    before = int(lab.sh(memory)[1].split()[1])
    run = lab.launch("endless.py")
    reader = http.client.HTTPConnection("127.0.0.1", lab.port, timeout=120)
    path = f"/user/{USER}/gpucamp/ddp/runs/{run['id']}/log"
    reader.request("GET", path, headers={"Authorization": f"token {lab.hub_token}"})
    answer = reader.getresponse()
    assert answer.status == 200
    assert len(answer.read(2**20)) == 2**20  # and no more for now
    deadline = time.monotonic() + 500
    while lab.ask("GET", f"gpucamp/ddp/runs/{run['id']}")[1]["state"] in ALIVE:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    size = int(lab.sh(f"stat -c %s .gpucamp/runs/{run['id']}/run.log")[1])
    assert size >= 2**30
    after = int(lab.sh(memory)[1].split()[1])
    assert after - before < 128 * 1024, (before, after)  # KiB
    assert len(answer.read(2**22)) == 2**22  # it goes on where it was left
    reader.close()
    assert lab.sh(f"rm -r .gpucamp/runs/{run['id']}")[0] == 0
