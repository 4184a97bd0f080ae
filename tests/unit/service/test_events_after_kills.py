"""A service that is killed again and again under load loses no event and no line of the trail."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter

import pytest
import requests
from service_server import running_service
from service_world import UUIDS
from test_application import Process

ADMIN = {"Authorization": "token admin-token"}
WRITERS = 4
KILLS = 4


class Reader(threading.Thread):
    """Goes on after the last id whenever its stream breaks, as a browser does."""

    def __init__(self, url, last):
        super().__init__(daemon=True)
        self.url, self.last = url, last
        self.numbers: list[int] = []
        self.gaps = self.connections = 0
        self.over = threading.Event()

    def run(self):
        while not self.over.is_set():
            headers = {**ADMIN, "Accept": "text/event-stream", "Last-Event-ID": str(self.last)}
            try:
                with requests.get(self.url, headers=headers, stream=True, timeout=30) as answer:
                    answer.encoding = "utf-8"
                    if answer.status_code == 200:
                        self.connections += 1
                        self.read(answer)
            except requests.RequestException:
                pass
            time.sleep(0.05)

    def read(self, answer):
        found: dict[str, str] = {}
        for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
            name, _colon, value = line.partition(": ")
            if line:
                found[name] = value
                continue
            # only what came whole counts: an event ends with an empty line
            if "id" in found:
                self.last = int(found["id"])
            if found.get("event") == "gap":
                self.gaps += 1
            elif "data" in found:
                self.numbers.append(json.loads(found["data"])["number"])
            found = {}
            if self.over.is_set():
                return


class Writer(threading.Thread):
    """Changes a device, each time with a reason of its own; `done` are those that were answered."""

    def __init__(self, url, number, device):
        super().__init__(daemon=True)
        self.url, self.number, self.device = url, number, device
        self.done: list[str] = []
        self.over = threading.Event()

    def run(self):
        count = 0
        while not self.over.is_set():
            count += 1
            reason = f"{self.number}-{count}"
            try:
                answer = requests.post(
                    f"{self.url}api/v1/devices/{self.device}/cordon",
                    headers=ADMIN,
                    json={"reason": reason},
                    timeout=10,
                )
                if answer.status_code == 200:
                    self.done.append(reason)
            except requests.RequestException:
                time.sleep(0.05)  # killed: it may be done or not


def until(condition, what, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.mark.timeout(300)
def test_kills_under_load_lose_nothing(world, tmp_path):
    start = world.ledger.audit_trail()[-1].number
    with running_service(world) as hub:
        service = Process(tmp_path, hub.origin)
        try:
            service.wait_until_up()
            readers = [Reader(service.url + "api/v1/events", start) for _ in range(2)]
            writers = [Writer(service.url, i, UUIDS[i % 2]) for i in range(WRITERS)]
            for each in (*readers, *writers):
                each.start()
            answered = 0
            for _ in range(KILLS):
                until(lambda seen=answered: sum(len(w.done) for w in writers) > seen + 20, "writes")
                service.end(signal.SIGKILL)
                answered = sum(len(each.done) for each in writers)
                service = Process(tmp_path, hub.origin, port=service.port)
                service.wait_until_up()
            until(lambda: sum(len(w.done) for w in writers) > answered + 20, "writes at the end")
            for each in writers:
                each.over.set()
            for each in writers:
                each.join(20)
            time.sleep(1)  # what the service itself still writes
            trail = [line for line in world.ledger.audit_trail() if line.number > start]
            expected = [line.number for line in trail]
            for each in readers:
                until(lambda each=each: each.last >= expected[-1], "the readers")
                each.over.set()
                assert each.numbers[: len(expected)] == expected, "in order, each once"
                assert each.gaps == 0
                assert each.connections >= KILLS, "they were cut off each time"
            told = Counter(line.reason for line in trail if line.action == "cordon")
            assert set(told.values()) == {1}, "nothing was done twice"
            assert {reason for each in writers for reason in each.done} <= set(told)
        finally:
            service.process.kill()
            service.process.wait(10)
