"""What programs of containers do, by a stand-in for /proc."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hub_ext.inventory.practice_load import PYTHON_BYTES, Load, PracticeLoad

FIRST, SECOND = "1" * 64, "2" * 64
TICKS = os.sysconf("SC_CLK_TCK")
GIB = 2**30


class Host:
    """A /proc, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, 100.0

    def process(
        self, pid: int, container: str, worked: float = 0, data: int = 0, began: int = 5000
    ) -> None:
        """worked: seconds of a processor so far; data: bytes beside Python's own."""
        place = self.folder / str(pid)
        place.mkdir(exist_ok=True)
        around = f"docker-{container}.scope" if container else "user.slice"
        (place / "cgroup").write_text(f"0::/system.slice/{around}\n")
        ticks = int(worked * TICKS)
        (place / "stat").write_text(
            f"{pid} (a ) name) R 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 9 9 20 0 1 0 {began} 0 0\n"
        )
        (place / "status").write_text(f"Name:\tx\nRssAnon:\t{(PYTHON_BYTES + data) // 1024} kB\n")

    def load(self) -> PracticeLoad:
        return PracticeLoad(self.folder, lambda: self.now)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_work_is_what_was_done_since_the_last_look(host: Host) -> None:
    host.process(10, FIRST, worked=50)
    host.process(11, FIRST, worked=7, data=GIB)
    host.process(20, SECOND, worked=9)
    load = host.load()
    both = (FIRST, SECOND)
    assert load.look(both) == {FIRST: Load(0.0, GIB), SECOND: Load(0.0, 0)}, "no work is known yet"
    host.now += 10
    host.process(10, FIRST, worked=55)
    host.process(11, FIRST, worked=17, data=2 * GIB)
    assert load.look(both) == {FIRST: Load(1.5, 2 * GIB), SECOND: Load(0.0, 0)}


def test_other_processes_and_other_containers_do_not_count(host: Host) -> None:
    host.process(1, "", worked=5, data=GIB)
    host.process(20, SECOND, worked=9, data=GIB)
    load = host.load()
    for _ in range(2):
        assert load.look((FIRST,)) == {}, "nothing is told of a container that is not here"
        host.now += 1
    assert load.look(()) == {}


def test_a_pid_that_was_given_again_is_another_process(host: Host) -> None:
    host.process(10, FIRST, worked=5, began=5000)
    load = host.load()
    load.look((FIRST,))
    host.now += 10
    host.process(10, FIRST, worked=9, began=6000)
    assert load.look((FIRST,)) == {FIRST: Load(0.0, 0)}


@pytest.mark.parametrize("name", ["stat", "status"])
@pytest.mark.parametrize(
    "content", ["", "10 (x", "RssAnon:\n", "RssAnon: x kB\n", "10 (x) " + "y " * 40]
)
def test_what_cannot_be_read_is_no_error(host: Host, name: str, content: str) -> None:
    host.process(10, FIRST, worked=5)
    load = host.load()
    load.look((FIRST,))
    host.now += 10
    host.process(10, FIRST, worked=6)
    (host.folder / "10" / name).write_text(content)
    (host.folder / "11").mkdir()  # gone in between
    assert set(load.look((FIRST,))) == {FIRST}
    assert PracticeLoad(host.folder / "none").look((FIRST,)) == {}
