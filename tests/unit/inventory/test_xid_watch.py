"""XIDs from the stand-in NVML through the real watch, a process of its own, to its parent."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub_ext.health import XidEvent
from hub_ext.inventory import xid_watcher
from hub_ext.inventory.xid_watcher import PROGRAM, XidWatcher

ROOT = Path(__file__).parents[3]
PATIENCE = 60.0  # of a test, on a busy machine


def until(true: Callable[[], object], what: str) -> object:
    """What `true` gives as soon as it gives something."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {PATIENCE:g} s: {what}")


def gone(pid: int) -> bool:
    """Whether the process has ended (its parent may not have asked for its status)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter while it is read
        return True


@pytest.fixture
def watch(environment, monkeypatch) -> Iterator[Callable[..., XidWatcher]]:
    """A watcher of the stand-in that reads a practice file, begun."""
    for name, value in (environment | {"PYTHONPATH": str(ROOT)}).items():
        monkeypatch.setenv(name, value)
    made = []

    def make(file: Path | None = None, **arguments: object) -> XidWatcher:
        if file is not None:
            monkeypatch.setenv("GPUCAMP_PRACTICE_FILE", str(file))
        watcher = XidWatcher(**({"pauses": [0.05]} | arguments))
        made.append(watcher)
        watcher.start()
        return watcher

    yield make
    for watcher in made:
        watcher.close()


def ready(watcher: XidWatcher) -> None:
    until(lambda: watcher._told is not None, "the watch has begun")


def take(watcher: XidWatcher, count: int) -> list[tuple[str, int]]:
    """The next events."""
    found: list[XidEvent] = []

    def enough() -> bool:
        found.extend(watcher.events())
        return len(found) >= count

    until(enough, f"{count} events")
    return [(event.card, event.xid) for event in found]


A, B = {"uuid": "GPU-a"}, {"uuid": "GPU-b", "mig_devices": [{"uuid": "MIG-1"}]}


def test_xids_arrive_once_with_the_card_they_are_of(watch, practice_file):
    before = [{"uuid": "GPU-a", "xid": 48}]  # what came before the watch is not its business
    watcher = watch(practice_file(A, B, events=before))
    ready(watcher)
    new = [{"uuid": "GPU-b", "xid": 79}, {"uuid": "GPU-a", "type": 2}, {"uuid": "GPU-a", "xid": 13}]
    practice_file(A, B, events=before + new)
    assert take(watcher, 3) == [("GPU-b", 79), ("GPU-a", 48), ("GPU-a", 13)]
    assert watcher.trouble == ""
    assert watcher.events() == ()


def test_a_wait_that_fails_is_told_and_the_watch_goes_on(watch, practice_file):
    watcher = watch(practice_file(A), pauses=[0.5])
    ready(watcher)
    practice_file(A, events=[{"error": 15}])
    until(lambda: "GPU is lost (15)" in watcher.trouble, "the error is told")
    until(lambda: watcher.trouble == "", "it is watched again")
    practice_file(A, events=[{"error": 15}, {"uuid": "GPU-a", "xid": 119}])
    assert take(watcher, 1) == [("GPU-a", 119)]


def test_a_driver_that_is_not_there_is_told_and_tried_again(watch, practice_file):
    watcher = watch(practice_file(A, faults={"nvmlInit": 9}))
    until(lambda: "Driver Not Loaded (9)" in watcher.trouble, "the error is told")
    practice_file(A)
    until(lambda: watcher.trouble == "", "it is watched")


def test_a_card_that_cannot_be_watched_does_not_keep_others_from_it(watch, practice_file):
    cards = [
        A,
        {"uuid": "GPU-x", "lost": True},
        {"uuid": "GPU-y", "faults": {"nvmlDeviceRegisterEvents": 999}},
    ]
    watcher = watch(practice_file(*cards))
    ready(watcher)
    assert "GPU 1: GPU is lost; GPU-y: Unknown Error" in watcher.trouble
    practice_file(*cards, events=[{"uuid": "GPU-a", "xid": 74}])
    assert take(watcher, 1) == [("GPU-a", 74)]


def test_cards_without_events_are_no_trouble(watch, practice_file):
    watcher = watch(practice_file(A | {"faults": {"nvmlDeviceGetSupportedEventTypes": 3}}))
    ready(watcher)
    assert watcher.trouble == ""


def test_a_driver_that_hangs_is_told_and_the_watch_is_replaced(watch, practice_file):
    """The watch is silent for longer than a driver may be."""
    watcher = watch(practice_file(A), silence=8.0)
    ready(watcher)
    first = watcher._process.pid
    practice_file(A, faults={"nvmlEventSetWait": {"sleep": 600}})
    until(lambda: "does not answer" in watcher.trouble, "the silence is told")
    practice_file(A)
    until(lambda: watcher.trouble == "", "it is watched again")
    until(lambda: gone(first), "the hung one has ended")


def test_new_cards_are_watched_too(watch, practice_file):
    watcher = watch(practice_file(A))
    ready(watcher)
    first = watcher._process.pid
    watcher.expect({"GPU-a"})
    assert not gone(first)
    practice_file(A, B)
    watcher.expect({"GPU-a", "GPU-b"})
    until(lambda: watcher._told == {"GPU-a", "GPU-b"}, "both are watched")
    second = watcher._process.pid
    watcher.expect({"GPU-a", "GPU-b", "GPU-never"})
    until(lambda: gone(second), "it looks once for a card that the driver does not name")
    until(
        lambda: (
            getattr(watcher._process, "pid", second) != second
            and watcher._told == {"GPU-a", "GPU-b"}
        ),
        "both are watched, by the next one",
    )
    third = watcher._process.pid
    for _ in range(10):
        watcher.expect({"GPU-a", "GPU-b", "GPU-never"})
    assert watcher._process.pid == third and not gone(third), "but not again and again"


def test_closing_ends_the_process_at_once(watch, practice_file):
    watcher = watch(practice_file(A, faults={"nvmlEventSetWait": {"sleep": 600}}))
    ready(watcher)
    pid = watcher._process.pid
    begin = time.monotonic()
    watcher.close()
    assert time.monotonic() - begin < 10
    until(lambda: gone(pid), "the process has ended")
    watcher.start()
    assert watcher._process is None, "closed is closed"


PARENT = """
import sys, time
from hub_ext.inventory.xid_watcher import XidWatcher
watcher = XidWatcher()
watcher.start()
while watcher._told is None:
    time.sleep(0.02)
print(watcher._process.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("fault", [{}, {"nvmlEventSetWait": {"sleep": 600}}])
def test_the_watch_ends_with_its_parent_however_that_ends(environment, practice_file, fault):
    variables = {
        "PYTHONPATH": str(ROOT),
        "GPUCAMP_PRACTICE_FILE": str(practice_file(A, faults=fault)),
    }
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        env=environment | variables,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        watch = int(parent.stdout.readline())
        assert not gone(watch)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        parent.stdout.close()
    until(lambda: gone(watch), "the watch has ended")


def program(*lines: object, then: str = "") -> list[str]:
    """A watch that says these lines and then does something."""
    said = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return [sys.executable, "-c", f"import sys, time\nprint({said!r}, flush=True)\n{then}"]


BEGIN = {"watching": ["GPU-a"], "deaf": {}, "silent": []}
EVENT = {"card": "GPU-a", "xid": 79, "at": "2026-11-25T12:00:00+00:00"}


def test_a_watch_that_dies_is_started_again_with_growing_pauses(watch, monkeypatch):
    paused = []
    watcher = watch(program=program(EVENT), pauses=[0.01, 0.02, 0.04])
    original = watcher._closed.wait
    monkeypatch.setattr(
        watcher._closed, "wait", lambda seconds: (paused.append(seconds), original(0))[1]
    )
    until(lambda: len(paused) > 4, "it was started again")
    assert [each for each in (0.01, 0.02, 0.04) if each in paused][-1] == 0.04
    assert paused[-1] == paused[-2] == 0.04, "the last pause stays"
    assert "ended" in watcher.trouble
    assert ("GPU-a", 79) in take(watcher, 1)


def test_lines_that_make_no_sense_do_not_end_the_watch(watch, caplog):
    lines = [
        BEGIN,
        "nonsense",
        "[]",
        '"x"',
        {"xid": "many", "card": "", "at": ""},
        {"deaf": 1},
        {"watching": 7},
        EVENT,
    ]
    watcher = watch(program=program(*lines, then="time.sleep(600)"))
    assert take(watcher, 1) == [("GPU-a", 79)]
    assert "nonsense" in caplog.text


def test_a_program_that_cannot_be_started_is_told(watch):
    watcher = watch(program=["/nowhere/python"])
    until(lambda: "not watched" in watcher.trouble, "it is told")


def test_events_that_nobody_takes_do_not_pile_up(watch, monkeypatch):
    storm = f"for n in range(3000): print({json.dumps(EVENT)!r}.replace('79', str(n)))"
    watcher = watch(program=program(BEGIN, then=f"{storm}\nsys.stdout.flush(); time.sleep(600)"))
    last = until(lambda: watcher._events and watcher._events[-1].xid == 2999, "the storm is over")
    assert last and len(watcher.events()) == 1000


def test_a_watch_that_cannot_be_killed_is_not_joined_by_a_second(watch, monkeypatch):
    started = []

    class Unkillable(subprocess.Popen):
        """A process stuck in the kernel."""

        freed = False

        def __init__(self, *arguments: object, **options: object) -> None:
            started.append(self)
            super().__init__(*arguments, **options)

        def kill(self) -> None:
            if self.freed:
                super().kill()

        def wait(self, timeout: float | None = None) -> int:
            if not self.freed:
                time.sleep(0.01)
                raise subprocess.TimeoutExpired("watch", 0)
            super().kill()
            return super().wait(timeout)

    monkeypatch.setattr(xid_watcher.subprocess, "Popen", Unkillable)
    watcher = watch(program=program(BEGIN, then="time.sleep(600)"), silence=0.2)
    until(lambda: "does not answer" in watcher.trouble, "it is told")
    time.sleep(0.3)
    assert len(started) == 1
    Unkillable.freed = True
    until(lambda: len(started) > 1, "the next one, as soon as the first is gone")


def test_a_watch_without_a_driver_ends_in_order(environment, practice_file):
    file = practice_file(A, faults={"nvmlInit": 9})
    process = subprocess.Popen(
        PROGRAM,
        env=environment | {"PYTHONPATH": str(ROOT), "GPUCAMP_PRACTICE_FILE": str(file)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        answer = process.stdout.read(), process.stderr.read()  # its input is still open
    assert (process.returncode, answer[1]) == (1, "")
    assert json.loads(answer[0])["error"] == 9
