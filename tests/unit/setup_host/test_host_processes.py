"""Processes: only those that were recorded are ever signalled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from setup_host import processes

Spawn = Callable[..., subprocess.Popen[bytes]]


def _record(process: subprocess.Popen[bytes]) -> processes.Record:
    record = processes.record_of(process.pid)
    assert record is not None
    return record


def test_a_record_survives_the_disk_while_its_process_lives(tmp_path: Path, spawn: Spawn) -> None:
    process = spawn("sleep", "60")
    record = _record(process)
    path = tmp_path / "hub.pid"
    processes.save(path, record)
    assert processes.load(path) == record
    process.kill()
    process.wait()
    assert processes.load(path) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1}', "123\n"])
def test_a_torn_record_is_no_process(tmp_path: Path, content: str) -> None:
    path = tmp_path / "hub.pid"
    path.write_text(content)
    assert processes.load(path) is None
    assert processes.load(tmp_path / "missing") is None


def test_a_zombie_does_not_live(spawn: Spawn) -> None:
    process = spawn("true")
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and not yet reaped
    assert processes.record_of(process.pid) is None


def test_an_id_that_was_used_again_is_not_touched(spawn: Spawn) -> None:
    stranger = spawn("sleep", "60")
    stale = replace(_record(stranger), started="another-boot:42")
    assert not processes.is_alive(stale)
    assert processes.end(stale, grace=0.1) is False
    assert stranger.poll() is None


def test_ending_is_polite_first(tmp_path: Path, spawn: Spawn) -> None:
    note = tmp_path / "note"
    process = spawn(
        *(
            "sh",
            "-c",
            f"trap 'echo bye > {note}; exit 0' TERM; echo up; while :; do sleep 0.05; done",
        ),
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    assert processes.end(_record(process), grace=5)
    assert process.wait(5) == 0
    assert note.read_text() == "bye\n"


def test_one_that_does_not_listen_is_killed(spawn: Spawn) -> None:
    process = spawn(
        "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done", stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    begun = time.monotonic()
    assert processes.end(_record(process), grace=0.5)
    assert process.wait(5) == -signal.SIGKILL
    assert time.monotonic() - begun < 5


def test_ending_one_that_is_gone_is_no_error(spawn: Spawn) -> None:
    process = spawn("sleep", "60")
    record = _record(process)
    process.kill()
    process.wait()
    assert processes.end(record) is False


def test_leftovers_are_found_by_state_folder_and_command(tmp_path: Path, spawn: Spawn) -> None:
    def sleeper(state: Path, word: str) -> subprocess.Popen[bytes]:
        code = "import time; print('up', flush=True); time.sleep(60)"
        process = spawn(
            *(sys.executable, "-c", code, word),
            env={**os.environ, "GPUCAMP_STATE_DIR": str(state)},
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
        return process

    proxy = sleeper(tmp_path / "a", "configurable-http-proxy")
    sleeper(tmp_path / "ab", "configurable-http-proxy")  # of another installation
    sleeper(tmp_path / "a", "someone's editor")
    found = processes.of_installation(tmp_path / "a", ("configurable-http-proxy",))
    assert [record.pid for record in found] == [proxy.pid]
