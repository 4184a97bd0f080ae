"""Fixtures for the host set-up: settings on a temporary folder, a Progress that is written down."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from setup_host.progress import Progress
from setup_host.settings import Settings

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def said() -> io.StringIO:
    """What `progress` printed."""
    return io.StringIO()


@pytest.fixture
def progress(said: io.StringIO) -> Progress:
    return Progress(said)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """This checkout with a temporary state folder, and the interpreter that runs the tests."""
    made = Settings.from_environ({"GPUCAMP_STATE_DIR": str(tmp_path / "state")}, ROOT)
    tools = tmp_path / "tools"
    (tools / "venv" / "bin").mkdir(parents=True)
    # a wrapper, not a link: the interpreter finds its packages by its own path
    python = tools / "venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="ascii")
    python.chmod(0o755)
    return replace(made, tools=tools)


@pytest.fixture
def spawn() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start processes that are gone after the test, whatever happens."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str, **options: object) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, **options)  # type: ignore[call-overload]
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
