"""Launch DDP with real torchrun, in the real image, through the real server and in a terminal."""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from ddp_lab import ALIVE, UNIT, Lab
from lab_server import USER

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def lab(engine: docker.DockerClient, image: str) -> Iterator[Lab]:
    with Lab.serving(engine, image) as made:
        made.put(UNIT / "failures", UNIT / "healthy", UNIT / "plain")
        made.sh(f"cat > stubborn.py <<'END'\n{STUBBORN}\nEND")
        yield made


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


KILLED_RANK = """
import os, signal, time
import torch.distributed as dist
dist.init_process_group("gloo")
for step in range(60):
    time.sleep(0.1)
    print(f"step={step}", flush=True)
if dist.get_rank() == 1:
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(60)
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


def test_what_ranks_used_and_how_they_ended(lab: Lab) -> None:
    lab.sh(f"cat > killed_rank.py <<'END'\n{KILLED_RANK}\nEND")
    run = lab.launch("killed_rank.py", "--seed", "5")
    _, ended = lab.log(run)
    assert (ended["state"], ended["seed"]["value"]) == ("failed", "5")
    _, usage = lab.ask("GET", f"gpucamp/ddp/runs/{run['id']}/usage")
    endings = [(rank["state"], rank["signal"]) for rank in usage["ranks"]]
    assert endings == [("ended", "SIGTERM"), ("ended", "SIGKILL")]
    assert all(rank["memory_peak_bytes"] > 50 * 2**20 for rank in usage["ranks"])  # torch alone
    assert usage["throughput"]["unit"] == "step" and usage["throughput"]["mean"] > 0
    assert {"cpu", "memory", "throughput"} <= {one["kind"] for one in usage["series"]}
    assert lab.sh(f"test -s .gpucamp/runs/{run['id']}/usage.json")[0] == 0


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


UNEVEN = """
import time
import torch, torch.distributed as dist
dist.init_process_group("gloo")
def step():
    if dist.get_rank() == 1:
        time.sleep(600)
    dist.all_reduce(torch.ones(1))
step()
"""


def test_a_hang_is_explained(lab: Lab) -> None:
    """The quiet time is a setting of the terminal's command; the server shows what it found."""
    lab.sh(f"cat > uneven.py <<'END'\n{UNEVEN}\nEND")
    ended: list[tuple[int, str]] = []
    command = "GPUCAMP_DDP_QUIET=10 exec gpucamp-ddp -n 2 uneven.py"
    terminal = threading.Thread(target=lambda: ended.append(lab.sh(command)))
    terminal.start()
    run = lab.until_run("uneven.py", lambda run: run["hang"])
    hang = run["hang"]
    assert (hang["code"], hang["rank"]) == ("rank-elsewhere", 1)
    waiting, asleep = hang["ranks"]
    assert waiting["collective"] == "all_reduce()"
    assert (asleep["doing"], asleep["where"]) == ("sleeps", "uneven.py:7 in step")
    assert any(frame.startswith("step (") for frame in asleep["frames"])
    assert lab.ask("POST", f"gpucamp/ddp/runs/{run['id']}/stop")[0] == 202
    terminal.join(60)
    assert ended and "Rank 1 sleeps (uneven.py:7 in step)" in ended[0][1], ended
    assert lab.processes_of("uneven.py") == ""


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


@pytest.mark.parametrize("path", sorted((UNIT / "plain").glob("*.py")), ids=lambda path: path.stem)
def test_what_is_proposed_for_a_plain_script_trains(lab: Lab, path: Path) -> None:
    lab.sh("mkdir -p mine; cp plain/*.py mine")  # the folder of a copied file is root's
    name = f"mine/{path.name}"
    _, made = lab.ask("POST", "gpucamp/ddp/proposal", {"script": name})
    assert made["reasons"] == []
    body = {"script": name, "digest": made["digest"]}
    status, written = lab.ask("POST", "gpucamp/ddp/proposal", body)
    assert status == 201 and written["script"] == f"mine/{path.stem}_ddp.py", written
    _, plan = lab.ask("POST", "gpucamp/ddp/plan", {"script": written["script"], "processes": 2})
    assert {one["code"] for one in plan["warnings"]} <= {"no-set-epoch"}
    text, run = lab.log(lab.launch(written["script"]))
    assert (run["state"], run["diagnosis"]) == ("succeeded", None), text
    assert text.count("loss") >= 2 and "was not called" not in text


def test_what_is_asked_for_is_what_torchrun_does(lab: Lab) -> None:
    """A module, variables, restarts and hidden ranks in one run."""
    lab.sh("mkdir -p pack")
    lab.sh(f"cat > pack/late.py <<'END'\n{LATE}\nEND")
    body = {
        "module": "pack.late",
        "processes": 2,
        "environment": {"SEED": "a b"},
        "max_restarts": 1,
        "local_ranks_filter": [0],
    }
    status, run = lab.ask("POST", "gpucamp/ddp/runs", body)
    assert status == 201, run
    text, run = lab.log(run)
    assert "rank 0 says a b in attempt 0" in text and "rank 0 says a b in attempt 1" in text
    assert "rank 1 says" not in text
    # the reason is in the hidden rank's own file
    assert (run["state"], run["diagnosis"]["code"]) == ("failed", "module-missing")
    assert run["diagnosis"]["rank"] == 1


LATE = """
import os, time
rank, attempt = os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]
print(f"rank {rank} says {os.environ['SEED']} in attempt {attempt}", flush=True)
time.sleep(0.5)
if rank == "1":
    import no_such_module
time.sleep(30)
"""


def test_a_notebook_is_launched_as_a_script(lab: Lab) -> None:
    _, made = lab.ask("POST", "gpucamp/ddp/notebook", {"notebook": "examples/train_single.ipynb"})
    assert made["obstacles"] == [] and made["script"]
    status, output = lab.sh(f"python {made['script']}")
    assert status == 0, output
    assert lab.sh("python examples/train_single.py")[1].splitlines()[-1] in output


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
    run = lab.until_run("stubborn.py", lambda run: len(run["ranks"]) == 2)
    assert lab.sh("kill -INT $(pgrep -f -o 'gpucamp-ddp -n')")[0] == 0
    terminal.join(60)
    assert ended and ended[0][0] == 130, ended
    assert lab.processes_of("stubborn.py") == ""
    assert lab.ask("GET", f"gpucamp/ddp/runs/{run['id']}")[1]["state"] == "stopped"


@pytest.mark.parametrize(("code", "state"), [(0, "succeeded"), (3, "failed")])
def test_a_run_whose_terminal_was_killed_ends_as_it_does(lab: Lab, code: int, state: str) -> None:
    script = f"left_{code}.py"
    lab.ok(
        f"printf '%s\\n' 'import os, sys, time' 'print(\"ready\", flush=True)' "
        f"'while not os.path.exists(\"go_{code}\"): time.sleep(0.1)' "
        f'\'sys.exit({code} if os.environ["RANK"] == "1" else 0)\' > {script}'
    )
    terminal = threading.Thread(target=lambda: lab.sh(f"exec gpucamp-ddp -n 2 {script}"))
    terminal.start()
    run = lab.until_run(script, lambda run: len(run["ranks"]) == 2)
    lab.until_log_says(run, "ready")
    lab.ok("kill -KILL $(pgrep -f -o 'gpucamp-ddp -n')")
    terminal.join(60)
    lab.ok(f"touch go_{code}")
    _, ended = lab.log(run)
    assert (ended["state"], ended["exit_code"]) == (state, 1 if code else 0), ended
    assert (ended["diagnosis"] is None) == (code == 0), ended


def test_the_owner_hears_that_the_service_is_down(lab: Lab) -> None:
    for method in ("GET", "POST"):
        status, answer = lab.ask(method, "gpucamp/reset", {} if method == "POST" else None)
        assert status == 503, answer
        assert "/services/gpucamp/" in answer["message"]


@pytest.mark.parametrize("code", ["server-stopped", "server-ended"])
def test_a_run_whose_container_ended_is_remembered(lab: Lab, code: str) -> None:
    """Stopped, as by a reset or the end of a lease; or ended by itself."""
    run = lab.launch("stubborn.py")
    lab.until_ranks(run, 2)
    lab.until_log_says(run, "ready")
    if code == "server-stopped":
        lab.container.stop(timeout=20)
    else:
        lab.container.kill()
    lab.start()
    status, found = lab.ask("GET", f"gpucamp/ddp/runs/{run['id']}")
    assert (status, found["state"]) == (200, "lost")
    assert found["diagnosis"]["code"] == code
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
