"""Kills whatever runs of DDP consist of, at random moments: `make ddp-kills`.

One participant's server in the image, with real torchrun. Each round starts a run, by the server
or in a terminal, waits for a random part of its life, and then one of these happens: its agent is
killed, one of its ranks is, its terminal is, somebody presses Stop, the server is killed (and with
it the container, which is started again), or the container is restarted.

Then everything must become true that is promised: the run is over and says how it ended, unless it
was to go on; no process of a run that is over is left; and the bystander, a run that nobody
touched, lives on, with all of its processes, unless its container ended. Processes are found by
the mark in their environment, not by the code that is tried here.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import docker

# the engine tests' JupyterLab server and its hub
sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))

from lab_server import LabServer

ALIVE = ("starting", "running")
RANKS = 2
PATIENCE = 60.0  # seconds until a promise must have come true
# like a training that saves at SIGTERM; some do not end when they are asked to
SCRIPT = """
import os, signal, subprocess, sys, time
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "worker" in sys.argv:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(900)"], start_new_session=True)
print("ready", flush=True)
time.sleep(900)
"""
DEEDS = {
    "agent": ("failed",),
    "rank": ("failed",),
    "stop": ("stopped",),
    "terminal": ALIVE,  # a run outlives the terminal that shows it
    "server": ("lost",),
    "restart": ("lost",),
}
# of DEEDS; a container's end costs most of the time
WEIGHTS = (5, 5, 4, 3, 2, 1)


class Killer:
    """Rounds on one server. Raises AssertionError when a promise does not come true."""

    def __init__(self, lab: LabServer, seed: int) -> None:
        self._lab = lab
        self._chance = random.Random(seed)  # noqa: S311 - the same moments each time
        self.done: Counter[str] = Counter()
        self._bystander = ""

    def begin(self) -> None:
        """What every round needs."""
        self._lab.ok(f"cat > kills.py <<'END'\n{SCRIPT}\nEND")
        self._begin_bystander()

    def round(self) -> str:
        """One kill; what was done."""
        deed = self._chance.choices(list(DEEDS), WEIGHTS)[0]
        behaviour = [word for word in ("stubborn", "worker") if self._chance.random() < 0.3]
        run = self._start(behaviour, in_terminal=deed == "terminal")
        # importing torch takes most of a start: some are hit before they have ranks
        if deed == "rank" or self._chance.random() < 0.5:
            self._until(lambda: len(self._ranks(run)) == RANKS, f"{run} has no ranks")
        time.sleep(self._chance.random() * 1.5)
        self._do(deed, run)
        self._until(
            lambda: self._state(run) in DEEDS[deed],
            f"{run} ({' '.join(behaviour)}) after {deed}: {self._state(run)}",
        )
        if deed == "terminal":
            # the server has taken it over: it is still there, and can be stopped
            self._until(lambda: len(self._ranks(run)) == RANKS, f"{run} has lost its ranks")
            self._stop(run)
            self._until(lambda: self._state(run) == "stopped", f"{run} does not stop")
        assert self._processes(run) == [], f"{run} after {deed} has left {self._processes(run)}"
        if deed in ("server", "restart"):
            assert self._state(self._bystander) == "lost"
            self._begin_bystander()
        else:
            assert self._state(self._bystander) == "running"
            assert len(self._processes(self._bystander)) == RANKS + 1, "the bystander was hit"
        self.done[deed] += 1
        return deed

    def end(self) -> None:
        """The bystander, too, ends without a trace."""
        self._stop(self._bystander)
        self._until(lambda: self._state(self._bystander) == "stopped", "the bystander goes on")
        assert self._processes(self._bystander) == []
        self._lab.ok("rm kills.py")

    # -- deeds

    def _do(self, deed: str, run: str) -> None:
        if deed == "agent":
            self._lab.ok(f"kill -KILL $(pgrep -f -o 'torchrun.*{run}')")
        elif deed == "rank":
            self._lab.ok(f"kill -KILL {self._chance.choice(self._ranks(run))}")
        elif deed == "terminal":
            self._lab.ok("kill -KILL $(pgrep -f -o 'gpucamp-ddp -n')")
        elif deed == "stop":
            self._stop(run)
        else:
            if deed == "server":
                self._lab.sh("kill -KILL $(pgrep -f -o serve.py)")
                self._lab.container.wait(timeout=60)
            else:
                self._lab.container.stop(timeout=1)
            self._lab.start()

    def _stop(self, run: str) -> None:
        status, said = self._lab.ask("POST", f"gpucamp/ddp/runs/{run}/stop")
        assert status == 202, said

    def _start(self, arguments: list[str], *, in_terminal: bool) -> str:
        """The id of a new run."""
        if in_terminal:
            known = {run["id"] for run in self._runs()}
            words = " ".join(["gpucamp-ddp -n", str(RANKS), "kills.py", *arguments])
            self._lab.container.exec_run(
                ["bash", "-c", f"exec {words}"], workdir="/home/jovyan/work", detach=True
            )
            self._until(lambda: bool({r["id"] for r in self._runs()} - known), "no run")
            return str(next(iter({run["id"] for run in self._runs()} - known)))
        body = {"script": "kills.py", "arguments": arguments, "processes": RANKS}
        status, run = self._lab.ask("POST", "gpucamp/ddp/runs", body)
        assert status == 201, run
        return str(run["id"])

    def _begin_bystander(self) -> None:
        self._bystander = self._start(["bystander"], in_terminal=False)
        self._until(lambda: len(self._ranks(self._bystander)) == RANKS, "no bystander")
        self._until(lambda: self._state(self._bystander) == "running", "no bystander")

    # -- looking

    def _runs(self) -> list[dict[str, Any]]:
        return list(self._lab.ask("GET", "gpucamp/ddp/runs")[1]["runs"])

    def _state(self, run: str) -> str:
        return str(self._lab.ask("GET", f"gpucamp/ddp/runs/{run}")[1]["state"])

    def _processes(self, run: str) -> list[int]:
        return self._marked(f"GPUCAMP_RUN_ID={run}")

    def _ranks(self, run: str) -> list[int]:
        ranks = self._lab.sh("grep -lz '^LOCAL_RANK=' /proc/[0-9]*/environ 2>/dev/null")[1]
        # its DataLoader-like children have the variable, too: a rank's parent is the agent
        agent = self._lab.sh(f"pgrep -f -o 'torchrun.*{run}'")[1].strip()
        children = self._lab.sh(f"pgrep -P {agent}")[1].split() if agent else []
        return [pid for pid in _pids(ranks) if str(pid) in children]

    def _marked(self, mark: str) -> list[int]:
        return _pids(self._lab.sh(f"grep -lz '^{mark}$' /proc/[0-9]*/environ 2>/dev/null")[1])

    def _until(self, condition: Any, otherwise: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, otherwise
            time.sleep(0.2)


def _pids(said: str) -> list[int]:
    """Of the lines /proc/PID/environ."""
    return [int(line.split("/")[2]) for line in said.splitlines() if line.startswith("/proc/")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--image", default=os.environ.get("GPUCAMP_IMAGE"), help="id of the gpucamp image"
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=20261126)
    options = parser.parse_args()
    if not options.image:
        parser.error("run it as `make ddp-kills`, or give --image")
    engine = docker.from_env(timeout=120)
    with LabServer.serving(engine, options.image) as lab:
        killer = Killer(lab, options.seed)
        killer.begin()
        for number in range(1, options.kills + 1):
            print(f"{number}: {killer.round()}", flush=True)
        killer.end()
    print(", ".join(f"{count} × {deed}" for deed, count in killer.done.most_common()))
    print("No rank survived that should not, and none died that should live.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
