"""How long the GPU doctor takes, beside torch's own `collect_env`: `make perf-doctor`.

One container of the image, as the spawner makes it, without a GPU. In each round gpucamp-doctor,
`python -m torch.utils.collect_env` and a bare `import torch` run one after another, and then once
more the other way round (A B C, C B A), so that a host that gets slower or faster in between does
so to all of them. Prints medians, and the median of the ratios within a round, as Markdown.

`import torch` is what both of them must do; its time is the least that a doctor can take which
imports torch as a kernel does. `until torch is there` is the same without the interpreter's end,
which collect_env waits for and the doctor does not. First result: from the start of the command to
its first line. Then the same in the panel (doctor_panel.py).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import docker
import doctor_panel
from docker.models.containers import Container

AIM = 0.5  # of collect_env's time
PYTHON = "/opt/gpucamp/base/bin/python"
DOCTOR, COLLECT_ENV = "gpucamp-doctor", "collect_env"
COMMANDS = {
    DOCTOR: ("gpucamp-doctor",),
    COLLECT_ENV: ("python", "-m", "torch.utils.collect_env"),
    "import torch": ("python", "-c", "import torch"),
    "until torch is there": ("python", "-c", "import os, torch; os._exit(0)"),
}

# in the container: the seconds of one command, until its first line and until its end
TIMED = """
import json, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
line = process.stdout.readline()
first = time.perf_counter() - started
process.stdout.read()
status = process.wait()
print(json.dumps([status, bool(line), first, time.perf_counter() - started]))
"""


@dataclass(frozen=True)
class Turn:
    """One run. seconds: until the end; first: until the first line, None without any."""

    seconds: float
    first: float | None


Round = dict[str, tuple[Turn, Turn]]


def run(container: Container, command: tuple[str, ...]) -> Turn:
    """Run it in the container, from within, so that the Engine's own time does not count."""
    ran = container.exec_run([PYTHON, "-I", "-c", TIMED, *command], demux=True)
    if ran.exit_code != 0:
        raise RuntimeError(f"{command}: {ran.output}")
    status, said, first, seconds = json.loads(ran.output[0])
    if status != 0:
        raise RuntimeError(f"{command} ended with {status}")
    return Turn(seconds, first if said else None)


def measure(container: Container) -> Round:
    """One round: each command twice, in turn and in reverse."""
    there = {name: run(container, command) for name, command in COMMANDS.items()}
    back = {name: run(container, COMMANDS[name]) for name in reversed(COMMANDS)}
    return {name: (there[name], back[name]) for name in COMMANDS}


def seconds_of(turns: tuple[Turn, Turn]) -> float:
    """The mean of both ways."""
    return statistics.mean(turn.seconds for turn in turns)


def ratio(rounds: list[Round], name: str, other: str = COLLECT_ENV) -> float:
    """The median over the rounds of how `name` compares with `other` in the same round."""
    return statistics.median(seconds_of(r[name]) / seconds_of(r[other]) for r in rounds)


def table(rounds: list[Round]) -> str:
    """The figures in Markdown."""
    lines = ["| | median | fastest | slowest | of collect_env |", "|---|---|---|---|---|"]
    for name in COMMANDS:
        taken = [turn.seconds for each in rounds for turn in each[name]]
        cells = " | ".join(f"{f(taken):.2f} s" for f in (statistics.median, min, max))
        lines.append(f"| {name} | {cells} | {ratio(rounds, name):.2f} |")
    first = [t.first for each in rounds for t in each[DOCTOR] if t.first is not None]
    if first:
        lines += ["", f"The doctor's first result: {statistics.median(first):.2f} s (median)."]
    return "\n".join(lines)


@contextmanager
def container_of(image: str) -> Iterator[Container]:
    """A participant's container without a GPU, removed at the end."""
    engine = docker.from_env(timeout=120)
    name = f"gpucamp-perf-doctor-{os.getpid()}"
    volumes = {f"{name}-env": "/home/jovyan", f"{name}-work": "/home/jovyan/work"}
    container = engine.containers.create(
        image,
        ["sleep", "infinity"],
        name=name,
        user="1000",
        read_only=True,
        network_mode="none",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        shm_size="1g",
        tmpfs={"/tmp": "exec"},  # noqa: S108 - the container's
        environment={"GPUCAMP_LEASE": "1", "GPUCAMP_DEVICES": "", "GPUCAMP_SIMULATED": "0"},
        volumes={volume: {"bind": path} for volume, path in volumes.items()},
    )
    try:
        container.start()
        yield container
    finally:
        container.remove(force=True)
        for volume in volumes:
            engine.volumes.get(volume).remove(force=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--image", default=os.environ.get("GPUCAMP_IMAGE"), help="id of the gpucamp image"
    )
    parser.add_argument("--rounds", type=int, default=8, help="counted rounds")
    options = parser.parse_args()
    if not options.image or options.rounds < 1:
        parser.error("run it as `make perf-doctor`, or give --image and --rounds")
    rounds = []
    with container_of(options.image) as container:
        for number in range(options.rounds + 1):  # the first warms up and is not counted
            measured = measure(container)
            times = ", ".join(f"{name} {seconds_of(t):.2f} s" for name, t in measured.items())
            print(f"{number or 'warm-up'}: {times}", flush=True)
            if number:
                rounds.append(measured)
    print("\n" + table(rounds))
    print(f"\naim: at most {AIM} of collect_env; measured {ratio(rounds, DOCTOR):.2f}")
    print("\n" + doctor_panel.table(doctor_panel.measure(options.image, options.rounds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
