"""When the doctor's panel shows its first result: part of `make perf-doctor`.

A participant's JupyterLab server in the image on a practice device, as the panel asks it: over
HTTP, reading the stream line by line. First result: the first line that says something of the
machine, a finding or a probe's answer. Meanwhile the same server is asked for /api every few
milliseconds: what others notice of an examination.
"""

from __future__ import annotations

import http.client
import json
import statistics
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import docker

# the engine tests' JupyterLab server and its hub
sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))

import event_loop
from lab_server import USER, LabServer

EVERY = 0.01  # seconds between two questions to /api


@dataclass(frozen=True)
class Watched:
    """Seconds after the request: started, first probe's answer, first finding, the report; answers:
    those of /api meanwhile; held: the longest callback of the server's event loop; idle: the same
    for as long without an examination, which is what this host does to any server.
    """

    started: float
    probed: float
    found: float
    finished: float
    answers: tuple[float, ...]
    held: event_loop.Held
    idle: event_loop.Held


def watch(lab: LabServer) -> Watched:
    """One examination, as the panel asks for it."""
    event_loop.forget(lab)
    ended = threading.Event()
    answers: list[float] = []
    asking = threading.Thread(target=_ask_meanwhile, args=(lab, ended, answers))
    asking.start()
    connection = http.client.HTTPConnection("127.0.0.1", lab.port, timeout=120)
    at: dict[str, float] = {}
    began = time.perf_counter()
    try:
        connection.request(
            "POST",
            f"/user/{USER}/gpucamp/doctor/examinations",
            body=json.dumps({"kernel": "python3"}),
            headers={"Authorization": f"token {lab.hub_token}"},
        )
        for line in connection.getresponse():
            at.setdefault(json.loads(line)["event"], time.perf_counter() - began)
    finally:
        ended.set()
        asking.join()
        connection.close()
    return Watched(
        at["started"],
        at["probe"],
        at["finding"],
        at["finished"],
        tuple(answers),
        event_loop.longest(lab),
        _longest_without(lab, at["finished"]),
    )


def _longest_without(lab: LabServer, seconds: float) -> event_loop.Held:
    event_loop.forget(lab)
    ended = threading.Event()
    asking = threading.Thread(target=_ask_meanwhile, args=(lab, ended, []))
    asking.start()
    ended.wait(seconds)
    ended.set()
    asking.join()
    return event_loop.longest(lab)


def _ask_meanwhile(lab: LabServer, ended: threading.Event, answers: list[float]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", lab.port, timeout=120)
    while not ended.wait(EVERY):
        began = time.perf_counter()
        connection.request(
            "GET", f"/user/{USER}/api", headers={"Authorization": f"token {lab.hub_token}"}
        )
        connection.getresponse().read()
        answers.append(time.perf_counter() - began)
    connection.close()


def table(watched: list[Watched]) -> str:
    """The figures in Markdown, in milliseconds."""
    lines = ["| after the panel asks | median | slowest |", "|---|---|---|"]
    for name in ("started", "probed", "found", "finished"):
        taken = [1000 * getattr(each, name) for each in watched]
        lines.append(f"| {name} | {statistics.median(taken):.0f} ms | {max(taken):.0f} ms |")
    answers = sorted(1000 * answer for each in watched for answer in each.answers)
    lines.append(
        f"| GET /api meanwhile ({len(answers)}) | {statistics.median(answers):.0f} ms "
        f"| {answers[-1]:.0f} ms |"
    )
    for what, held in (
        ("event loop held by one callback", [each.held for each in watched]),
        ("the same without an examination", [each.idle for each in watched]),
    ):
        middle = sorted(held, key=by_clock)[len(held) // 2]
        lines.append(f"| {what} | {middle} | {max(held, key=by_clock)} |")
    return "\n".join(lines)


def by_clock(held: event_loop.Held) -> float:
    """To sort by."""
    return held.clock


def measure(image: str, rounds: int) -> list[Watched]:
    """So many examinations after one that warms up."""
    engine = docker.from_env(timeout=120)
    with event_loop.timing() as mounts, LabServer.serving(engine, image, mounts=mounts) as lab:
        return [watch(lab) for _ in range(rounds + 1)][1:]
