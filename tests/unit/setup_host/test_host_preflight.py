"""What is found out before anything is downloaded."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from setup_host import preflight
from setup_host.errors import SetupError


@pytest.mark.parametrize("version", ["v20.19.0", "v20.20.2", "v22.12.0", "v24.1.0", "v23.0.0"])
def test_a_node_that_builds_is_accepted(version: str) -> None:
    preflight.check_node(version + "\n")


@pytest.mark.parametrize(
    "version", ["v18.20.4", "v20.18.3", "v21.7.0", "v22.11.0", "nonsense", None]
)
def test_any_other_node_is_refused_with_what_to_install(version: str | None) -> None:
    with pytest.raises(SetupError, match=r"(?s)What to do: install Node.js 20\.19"):
        preflight.check_node(version)


def test_an_old_python_is_named() -> None:
    preflight.check_python((3, 11, 0))
    with pytest.raises(SetupError, match=r"(?s)Python 3\.10\.9; .*PYTHON=python3\.12"):
        preflight.check_python((3, 10, 9))


def test_a_disk_that_is_too_small_says_what_is_needed_and_where(tmp_path: Path) -> None:
    preflight.check_space(20 * 10**9, preflight.IMAGE_BYTES, "/var/lib/docker", "The image")
    with pytest.raises(SetupError, match=r"20 GB free in /var/lib/docker; there are 3\.0 GB"):
        preflight.check_space(3 * 10**9, preflight.IMAGE_BYTES, "/var/lib/docker", "The image")
    # a folder that is not there yet is judged by the disk it will be on
    preflight.space(tmp_path / "not" / "yet", 1, "Nothing")
    with pytest.raises(SetupError, match="free in " + str(tmp_path)):
        preflight.space(tmp_path / "not" / "yet", 10**18, "Too much")


@pytest.fixture
def listener() -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Another process that listens on a port."""
    code = (
        "import socket, time; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen();"
        "print(s.getsockname()[1], flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_port_that_is_taken_names_who_took_it(
    listener: tuple[int, subprocess.Popen[bytes]],
) -> None:
    port, process = listener
    with pytest.raises(SetupError) as refused:
        preflight.port_free("127.0.0.1", port, "GPUCAMP_PORT")
    assert f"process {process.pid} ({sys.executable}" in refused.value.problem
    assert "GPUCAMP_PORT=" in refused.value.remedy


def test_a_port_that_nobody_listens_on_is_free() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    preflight.port_free("127.0.0.1", port, "GPUCAMP_PORT")
    assert preflight.port_owner(port) is None


def test_an_address_of_another_machine_is_told_from_a_taken_port() -> None:
    with pytest.raises(SetupError, match="is no address of this host"):
        preflight.port_free("192.0.2.1", 8081, "GPUCAMP_HUB_PORT")


def test_npm_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho v22.12.0\n")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "sh").symlink_to("/bin/sh")
    with pytest.raises(SetupError, match="no `npm` on the PATH"):
        preflight.node()
    node.unlink()
    with pytest.raises(SetupError, match="no `node` on the PATH"):
        preflight.node()
