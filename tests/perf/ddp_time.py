"""What a launch by gpucamp costs beside bare torchrun: `make perf-ddp`.

One participant's server in the image, on practice devices. Three comparisons:

- Overhead: the training example on two processes, by Launch DDP (REST: from the request to the
  end of its log) and by the same torchrun command in a terminal of the same container, in turn and
  then the other way round (A B, B A). The ratio counts the whole process, waiting included.
- First line: of the script's output, from the same runs: by the log's stream beside the terminal's
  pipe; and on the screen of a real browser (ddp_first_line.py).
- A flood: four ranks write as many megabytes in a minute as asked, while a browser reads the log.
  Nothing may be lost on disk, the server's memory is bounded, and /api answers. As the ranks and
  torchrun alone keep two cores busy, the same flood by bare torchrun, with a server that has
  nothing to do with it, is the peer.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

# the engine tests' JupyterLab server and its hub
sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))

import ddp_first_line
import event_loop
from lab_server import USER, LabServer

OVERHEAD = 1.03  # the aim, as a ratio
PYTHON = "/opt/gpucamp/base/bin/python"
SCRIPT = "examples/train_ddp.py"
RANKS, LINE_BYTES = 4, 100
FLOOD = f"""
import os, sys, time
rank, bytes_in_all, seconds = os.environ["RANK"], int(sys.argv[1]), float(sys.argv[2])
lines = bytes_in_all // {LINE_BYTES}
began, written = time.monotonic(), 0
while written < lines:
    due = min(lines, int(lines * (time.monotonic() - began) / seconds) + 1)
    head = [f"{{rank}} {{number:09d}} " for number in range(written, due)]
    part = [one.ljust({LINE_BYTES - 1}, "x") for one in head]
    data = memoryview(("\\n".join(part) + "\\n").encode() if part else b"")
    while data:
        data = data[os.write(1, data):]
    written = due
    time.sleep(0.02)
"""
# in the container: what a terminal sees of a command. Prints the seconds until the first line that
# a rank wrote and until the end
TIMED = """
import json, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
first, last = None, []
for line in process.stdout:
    last = [*last[-40:], line]
    if first is None and line.startswith(b"[default"):
        first = time.perf_counter() - began
if process.wait():
    sys.stderr.buffer.writelines(last)
print(json.dumps([process.returncode, first, time.perf_counter() - began]))
"""
# counts the lines of each rank in a log, and those that are not as they were written
COUNTED = """
import collections, json, re, sys
line = re.compile(rb"\\[default(\\d)\\]:(\\d) (\\d{9}) x+\\n")
count, broken = collections.Counter(), 0
with open(sys.argv[1], "rb") as log:
    for text in log:
        found = line.fullmatch(text)
        if found and found[1] == found[2] and int(found[3]) == count[found[1].decode()]:
            count[found[1].decode()] += 1
        elif b"xxx" in text:
            broken += 1
print(json.dumps([count, broken]))
"""


@dataclass(frozen=True)
class Turn:
    """Seconds until a rank's first line, and until the end."""

    first: float
    seconds: float


@dataclass(frozen=True)
class Flood:
    """lines: each rank's, as they are on disk; broken: lines that were not as written; streamed:
    characters that the browser got; memory: how much the server grew, bytes; answers: seconds of
    /api meanwhile; held: the longest callback of the server's event loop.
    """

    lines: dict[str, int]
    broken: int
    streamed: int
    memory: int
    answers: tuple[float, ...]
    held: event_loop.Held


def launched(lab: LabServer, body: dict[str, Any], saw: Callable[[str], None]) -> Turn:
    """One run by Launch DDP; `saw` gets every text of a rank."""
    began = time.perf_counter()
    status, run = lab.ask("POST", "gpucamp/ddp/runs", body)
    if status != 201:
        raise RuntimeError(f"not launched: {run}")
    first = 0.0
    connection = http.client.HTTPConnection("127.0.0.1", lab.port, timeout=600)
    try:
        connection.request(
            "GET",
            f"/user/{USER}/gpucamp/ddp/runs/{run['id']}/log",
            headers={"Authorization": f"token {lab.hub_token}"},
        )
        for line in connection.getresponse():
            if not line.strip():  # it only keeps the connection alive
                continue
            event = json.loads(line)
            if event.get("rank") is not None:
                first = first or time.perf_counter() - began
                saw(event["text"])
            elif event.get("event") == "end":
                run = event["run"]
    finally:
        connection.close()
    seconds = time.perf_counter() - began
    if run["state"] != "succeeded" or not first:
        raise RuntimeError(f"did not succeed: {run}")
    return Turn(first, seconds)


def in_terminal(lab: LabServer, argv: list[str]) -> Turn:
    """The same command in a terminal."""
    ran = lab.container.exec_run(
        [PYTHON, "-I", "-c", TIMED, *argv], workdir="/home/jovyan/work", demux=True
    )
    if ran.exit_code != 0:
        raise RuntimeError(f"{argv}: {ran.output}")
    status, first, seconds = json.loads(ran.output[0])
    if status != 0 or first is None:
        raise RuntimeError(f"torchrun ended with {status}: {(ran.output[1] or b'').decode()}")
    return Turn(first, seconds)


def terminal(lab: LabServer) -> Callable[[str, str], float]:
    """Script and argument -> seconds until the first line of a rank in a terminal."""

    def first(script: str, word: str) -> float:
        body = {"script": script, "arguments": [word], "processes": 2}
        return repeated(lambda: in_terminal(lab, bare(lab, body))).first

    return first


def bare(lab: LabServer, body: dict[str, Any]) -> list[str]:
    """The command of a plan, with the variables that the server would set."""
    status, plan = lab.ask("POST", "gpucamp/ddp/plan", body)
    if status != 200:
        raise RuntimeError(f"no plan: {plan}")
    variables = [f"{name}={value}" for name, value in plan["env"].items()]
    # a folder of its own for the ranks' files: the plan's is only there for a run
    argv = [word if plan["id"] not in word else f"/tmp/{plan['id']}" for word in plan["argv"]]  # noqa: S108 - the container's
    return ["env", *variables, *argv]


def repeated(turn: Callable[[], Turn]) -> Turn:
    """A turn that succeeds: some runs of PyTorch on gloo, bare or not, crash while
    Python shuts down (the code crashed-at-exit of docs/ddp.md). Said, and not counted.
    """
    for _ in range(2):
        try:
            return turn()
        except RuntimeError as error:
            print(f"repeated: {error}", flush=True)
    return turn()


def compare(lab: LabServer, rounds: int, epochs: int) -> tuple[list[Turn], list[Turn]]:
    """Turns by Launch DDP and in a terminal, two of each in a round."""
    body = {"script": SCRIPT, "arguments": ["--epochs", str(epochs)], "processes": 2}
    ours, theirs = [], []
    for number in range(rounds + 1):  # the first warms up and is not counted
        a = repeated(lambda: launched(lab, body, len))
        b = repeated(lambda: in_terminal(lab, bare(lab, body)))
        d = repeated(lambda: in_terminal(lab, bare(lab, body)))
        c = repeated(lambda: launched(lab, body, len))
        print(
            f"{number or 'warm-up'}: Launch DDP {a.seconds:.2f} {c.seconds:.2f} s, "
            f"torchrun {b.seconds:.2f} {d.seconds:.2f} s",
            flush=True,
        )
        if number:
            ours += [a, c]
            theirs += [b, d]
    return ours, theirs


def ratio(ours: list[Turn], theirs: list[Turn], name: str) -> float:
    """The median over the rounds (two turns each) of ours by theirs."""
    pairs = [
        (sum(getattr(t, name) for t in ours[i : i + 2]), theirs[i : i + 2])
        for i in range(0, len(ours), 2)
    ]
    return statistics.median(mine / sum(getattr(t, name) for t in other) for mine, other in pairs)


def table(ours: list[Turn], theirs: list[Turn]) -> str:
    """The figures in Markdown."""
    lines = ["| median | Launch DDP | torchrun | ratio | aim |", "|---|---|---|---|---|"]
    for name, what, aim in (
        ("seconds", "whole process", OVERHEAD),
        ("first", "first line of a rank", ddp_first_line.AIM),
    ):
        mine, other = (statistics.median(getattr(t, name) for t in x) for x in (ours, theirs))
        lines.append(
            f"| {what} | {mine:.2f} s | {other:.2f} s | {ratio(ours, theirs, name):.3f} | {aim} |"
        )
    return "\n".join(lines)


@contextmanager
def api_watched(lab: LabServer, answers: list[float]) -> Iterator[None]:
    """Ask the server for /api, again and again; `answers` gets the seconds."""
    ended = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", lab.port, timeout=120)
        while not ended.wait(0.02):
            began = time.perf_counter()
            connection.request(
                "GET", f"/user/{USER}/api", headers={"Authorization": f"token {lab.hub_token}"}
            )
            connection.getresponse().read()
            answers.append(time.perf_counter() - began)
        connection.close()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        ended.set()
        asking.join()


def memory_of_server(lab: LabServer) -> int:
    """Bytes that the server holds."""
    said = lab.ok("grep VmRSS /proc/$(pgrep -f -o serve.py)/status")
    return int(said.split()[1]) * 1024


def flood(lab: LabServer, megabytes: int, seconds: int, *, by_us: bool) -> Flood:
    """Four ranks write so many megabytes a minute each for so many seconds."""
    lab.ok(f"cat > flood.py <<'END'\n{FLOOD}\nEND")
    wanted = megabytes * 10**6 * seconds // 60
    body = {"script": "flood.py", "arguments": [str(wanted), str(seconds)], "processes": RANKS}
    before = memory_of_server(lab)
    event_loop.forget(lab)
    answers: list[float] = []
    streamed = [0]

    def saw(text: str) -> None:
        streamed[0] += len(text)

    with api_watched(lab, answers):
        if by_us:
            launched(lab, body, saw)
        else:
            lab.ok(" ".join([*bare(lab, body), "> bare.log 2>&1"]))
    held = event_loop.longest(lab)
    log = "bare.log"
    if by_us:
        newest = lab.ask("GET", "gpucamp/ddp/runs")[1]["runs"][0]["id"]
        log = f".gpucamp/runs/{newest}/run.log"
    counted, broken = json.loads(
        lab.ok(f"cat > count.py <<'END'\n{COUNTED}\nEND\n{PYTHON} count.py {log}")
    )
    grown = memory_of_server(lab) - before
    lab.ok(f"rm -rf {log}")
    return Flood(counted, broken, streamed[0], grown, tuple(sorted(answers)), held)


def flood_table(floods: dict[str, Flood], wanted: int) -> str:
    """The figures in Markdown."""
    lines = [
        "| | lines of each rank | broken | streamed | server grew | /api median | p99 | slowest "
        "| longest callback |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, one in floods.items():
        counts = " ".join(str(one.lines.get(str(rank), 0)) for rank in range(RANKS))
        p99 = one.answers[int(len(one.answers) * 0.99)]
        lines.append(
            f"| {name} | {counts} of {wanted} | {one.broken} | {one.streamed / 1e6:.0f} MB "
            f"| {one.memory / 2**20:.0f} MiB | {1000 * statistics.median(one.answers):.0f} ms "
            f"| {1000 * p99:.0f} ms | {1000 * one.answers[-1]:.0f} ms | {one.held} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--image", default=os.environ.get("GPUCAMP_IMAGE"), help="id of the gpucamp image"
    )
    parser.add_argument("--rounds", type=int, default=5, help="counted, two runs each")
    parser.add_argument("--launches", type=int, default=6, help="counted launches in the browser")
    parser.add_argument("--epochs", type=int, default=60, help="of the training example")
    parser.add_argument("--megabytes", type=int, default=100, help="of log, a minute and rank")
    parser.add_argument("--seconds", type=int, default=60, help="that the flood lasts")
    options = parser.parse_args()
    if not options.image or options.rounds < 1:
        parser.error("run it as `make perf-ddp`, or give --image and --rounds")
    engine = docker.from_env(timeout=120)
    with LabServer.serving(engine, options.image) as lab:
        print(table(*compare(lab, options.rounds, options.epochs)), flush=True)
        print("\n" + ddp_first_line.measure(lab, terminal(lab), options.launches), flush=True)
    # a rank for each GPU, however few cores this host has; the flood does not use them
    gpus = ",".join(f"GPU-5ca1ab1e-0000-4000-8000-{n:012d}" for n in range(RANKS))
    four = {"GPUCAMP_PRACTICE": "0", "GPUCAMP_SIMULATED": "0", "GPUCAMP_DEVICES": gpus}
    with (
        event_loop.timing() as mounts,
        LabServer.serving(engine, options.image, four, mounts=mounts) as lab,
    ):
        floods = {
            "torchrun alone": flood(lab, options.megabytes, options.seconds, by_us=False),
            "Launch DDP": flood(lab, options.megabytes, options.seconds, by_us=True),
        }
    wanted = options.megabytes * 10**6 * options.seconds // 60 // LINE_BYTES
    print("\n" + flood_table(floods, wanted))
    return 0


if __name__ == "__main__":
    sys.exit(main())
