"""The Engine: found, refused, or started in spite of what a killed one left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import FakeEngine

from setup_host import engine, network, processes, test_engine
from setup_host.engine_api import Engine, EngineError
from setup_host.errors import SetupError
from setup_host.progress import Progress
from setup_host.settings import Settings

Spawn = Callable[..., subprocess.Popen[bytes]]


# ---- speaking to it ----------------------------------------------------------------------------


def test_the_address_is_dockers_own_variable() -> None:
    assert Engine.from_environ({}).address == "unix:///var/run/docker.sock"
    assert Engine.from_environ({"DOCKER_HOST": "tcp://h:2376"}).address == "tcp://h:2376"
    with pytest.raises(SetupError, match="ssh://host"):
        Engine.from_environ({"DOCKER_HOST": "ssh://host"})


def test_an_error_is_in_the_engines_words(tmp_path: Path) -> None:
    with FakeEngine(tmp_path, {"GET /x": (409, {"message": "it is in use"})}) as fake:
        with pytest.raises(EngineError, match="it is in use") as failed:
            Engine(f"unix://{fake.socket}").request("GET", "/x")
    assert failed.value.status == 409


def test_no_engine_and_a_silent_one_do_not_answer(tmp_path: Path) -> None:
    assert not Engine(f"unix://{tmp_path}/none.sock").answers()
    with FakeEngine(tmp_path, {"GET /_ping": (200, "OK")}) as fake:
        the_engine = Engine(f"unix://{fake.socket}")
        assert the_engine.answers()
        assert the_engine.listener() == os.getpid()
        fake.delay = 2
        with pytest.raises(EngineError) as failed:
            the_engine.request("GET", "/_ping", timeout=0.2)
        assert failed.value.status == 0


def test_a_rootless_engine_is_refused_before_anything_is_built(
    tmp_path: Path, settings: Settings, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = {
        "GET /_ping": (200, "OK"),
        "GET /info": (200, {"SecurityOptions": ["name=seccomp", "name=rootless"]}),
    }
    with FakeEngine(tmp_path, routes) as fake:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{fake.socket}")
        with pytest.raises(SetupError, match="rootless"):
            engine.ensure(settings, progress)


def test_an_engine_that_docker_host_names_is_not_replaced_by_another(
    tmp_path: Path, settings: Settings, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(SetupError, match="does not answer"):
        engine.ensure(settings, progress)


def test_where_none_may_be_started_the_remedy_is_told(
    settings: Settings, progress: Progress, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    none = f"unix://{tmp_path}/none.sock"
    monkeypatch.setattr("setup_host.engine_api.DEFAULT_SOCKET", none)
    monkeypatch.setattr(engine, "DEFAULT_SOCKET", none)
    with pytest.raises(SetupError, match="apt-get install docker.io"):
        engine.ensure(replace(settings, install_engine=False), progress)


# ---- what a killed Engine leaves behind --------------------------------------------------------


@pytest.mark.parametrize("content", ["", "none", "999999999", "1"])
def test_a_pid_file_that_names_no_dockerd_goes(tmp_path: Path, content: str) -> None:
    pid_file = tmp_path / "docker.pid"
    pid_file.write_text(content)
    assert engine.remove_stale(pid_file, "dockerd")
    assert not pid_file.exists()
    assert not engine.remove_stale(pid_file, "dockerd")


def test_the_pid_file_of_a_living_dockerd_stays(tmp_path: Path, spawn: Spawn) -> None:
    program = tmp_path / "dockerd"
    shutil.copy(shutil.which("sleep") or "", program)
    process = spawn(str(program), "60")
    while Path(f"/proc/{process.pid}/comm").read_text() != "dockerd\n":
        time.sleep(0.01)  # the kernel sets the name a moment after the start is reported
    pid_file = tmp_path / "docker.pid"
    pid_file.write_text(f"{process.pid}\n")
    assert not engine.remove_stale(pid_file, "dockerd")
    assert pid_file.exists()


def test_the_pid_file_of_a_dockerd_that_nobody_reaped_goes(tmp_path: Path, spawn: Spawn) -> None:
    program = tmp_path / "dockerd"
    shutil.copy(shutil.which("sleep") or "", program)
    process = spawn(str(program), "0")
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    pid_file = tmp_path / "docker.pid"
    pid_file.write_text(f"{process.pid}\n")
    assert Path(f"/proc/{process.pid}/comm").read_text().strip() == "dockerd"
    assert engine.remove_stale(pid_file, "dockerd")


def _a_dockerd(tmp_path: Path, body: str) -> None:
    """A dockerd on the PATH that does what its real one does where the test looks."""
    program = tmp_path / "bin" / "dockerd"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


def _place(tmp_path: Path) -> engine.Place:
    return engine.Place(
        tmp_path / "d.sock", tmp_path / "d.pid", tmp_path / "exec", tmp_path / "data"
    )


def test_a_start_removes_stale_files_puts_the_stand_in_first_and_is_remembered(
    tmp_path: Path, settings: Settings, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = _place(tmp_path)
    containerd = place.exec_root / "containerd" / "containerd.pid"
    containerd.parent.mkdir(parents=True)
    for pid_file in (place.pid_file, containerd):
        pid_file.write_text("1\n")
    notes = tmp_path / "notes"
    _a_dockerd(
        tmp_path,
        f'echo "$PATH" > {notes}; echo "$@" >> {notes}; ls {tmp_path} >> {notes};'
        f" ls {containerd.parent} >> {notes}; exec sleep 60",
    )
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(engine, "has_nvidia_driver", lambda: False)
    answers = iter([False, False, True])
    monkeypatch.setattr(Engine, "answers", lambda self: next(answers))
    record = tmp_path / "engine.json"
    engine.start(settings, progress, place, tmp_path / "log", record)
    known = processes.load(record)
    try:
        assert known is not None
        path, arguments, *files = notes.read_text().splitlines()
        folder = path.split(":")[0]
        assert (Path(folder) / engine.HOOK).exists()
        assert f"--data-root={place.data_root}" in arguments
        assert "d.pid" not in files and "containerd.pid" not in files
    finally:
        assert engine.stop_ours(settings, record)
    assert known is not None and not processes.is_alive(known)
    assert not record.exists()


def test_with_a_card_the_stand_in_stays_out_of_the_way(
    tmp_path: Path, settings: Settings, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    _a_dockerd(tmp_path, f'echo "$PATH" > {tmp_path}/notes; exec sleep 60')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(engine, "has_nvidia_driver", lambda: True)
    answers = iter([False, False, True])
    monkeypatch.setattr(Engine, "answers", lambda self: next(answers))
    engine.start(settings, progress, _place(tmp_path), tmp_path / "log", tmp_path / "r")
    engine.stop_ours(settings, tmp_path / "r")
    assert "images/practice" not in (tmp_path / "notes").read_text()


def test_an_engine_that_dies_at_once_shows_its_last_words(
    tmp_path: Path, settings: Settings, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    _a_dockerd(tmp_path, "echo 'failed to mount overlay: operation not permitted'; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    with pytest.raises(SetupError, match="failed to mount overlay"):
        engine.start(settings, progress, _place(tmp_path), tmp_path / "log", tmp_path / "r")


def test_a_driver_is_seen_by_its_files(tmp_path: Path) -> None:
    assert not engine.has_nvidia_driver(tmp_path)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidiactl").touch()
    assert engine.has_nvidia_driver(tmp_path)


# ---- the tests' own Engine ---------------------------------------------------------------------


def test_the_stand_in_is_recognised_by_the_engines_own_path(
    tmp_path: Path, settings: Settings, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = engine.practice_folder(settings)
    own = spawn("sleep", "60", env={"PATH": f"{hook}:/usr/bin:/bin"})
    other = spawn("sleep", "60", env={"PATH": "/usr/bin:/bin"})
    card = tmp_path / engine.HOOK
    card.write_text("#!/bin/sh\n# a real card's\n")
    card.chmod(0o755)
    real = spawn("sleep", "60", env={"PATH": f"{tmp_path}:{hook}:/usr/bin:/bin"})
    the_engine = Engine("unix:///nowhere")
    for process, expected in ((own, True), (other, False), (real, False)):
        while not Path(f"/proc/{process.pid}/environ").read_bytes():
            time.sleep(0.01)  # the kernel sets it a moment after the start is reported
        monkeypatch.setattr(Engine, "listener", lambda self, pid=process.pid: pid)
        assert engine.has_stand_in(the_engine, settings) is expected
    monkeypatch.setattr(Engine, "listener", lambda self: None)
    assert not engine.has_stand_in(the_engine, settings)


def test_a_second_engine_does_not_start_beside_running_containers() -> None:
    test_engine.check_host({"ContainersRunning": 0}, "")
    test_engine.check_host({"ContainersRunning": 3}, "yes")
    with pytest.raises(SetupError, match=r"(?s)3 container.*GPUCAMP_PRIVATE_ENGINE=yes"):
        test_engine.check_host({"ContainersRunning": 3}, "")


# ---- the network, through the API --------------------------------------------------------------


def test_a_network_is_made_once_with_icc_off(tmp_path: Path) -> None:
    routes: dict[str, object] = {"GET /networks": (200, [])}

    def create(_: object, body: dict[str, object]) -> tuple[int, object]:
        routes["GET /networks/camp"] = (200, body)
        return 201, {"Id": "1"}

    routes["POST /networks/create"] = create
    with FakeEngine(tmp_path, routes) as fake:
        the_engine = Engine(f"unix://{fake.socket}")
        gateway = network.ensure(the_engine, "camp", "10.99.0.0/20")
        assert network.ensure(the_engine, "camp") == gateway == "10.99.0.1"
        with pytest.raises(SetupError, match="another subnet"):
            network.ensure(the_engine, "camp", "10.98.0.0/20")
        created = [body for call, body in fake.calls if call == "POST /networks/create"]
    assert len(created) == 1
    assert created[0]["Options"] == {"com.docker.network.bridge.enable_icc": "false"}


def test_a_network_that_someone_else_made_is_not_removed(tmp_path: Path) -> None:
    with FakeEngine(tmp_path, {"GET /networks/camp": (200, {"Labels": {}})}) as fake:
        assert not network.remove(Engine(f"unix://{fake.socket}"), "camp")
        assert [call for call, _ in fake.calls] == ["GET /networks/camp"]
