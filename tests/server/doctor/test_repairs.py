"""Repairs over REST, on kernels, variables, files and processes that are there."""
# ruff: noqa: ASYNC110, ASYNC220, ASYNC221, ASYNC240 - nobody waits beside these tests

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server_ext.doctor import origins
from server_ext.doctor.probes import resources
from server_ext.doctor.repairs import handlers, plan_variables
from server_ext.doctor.repairs.carry_out import carry_out
from server_ext.doctor.repairs.failed import RepairFailed
from server_ext.doctor.repairs.steps import (
    EndRanks,
    Line,
    Repair,
    Run,
    SetAside,
    Silence,
    Unset,
    UnsetInKernel,
)

IPYKERNEL = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
REPAIRS = "gpucamp/doctor/repairs"


async def examine(jupyter: Any, kernel: str) -> set[str]:
    events = await jupyter.stream(
        "gpucamp/doctor/examinations", method="POST", body={"kernel": kernel}
    )
    return {finding["code"] for finding in events[-1][1]["report"]["findings"]}


async def offered(jupyter: Any, code: str) -> dict[str, Any]:
    answer = await jupyter.json(REPAIRS)
    (found,) = [each for each in answer["repairs"] if each["code"] == code]
    assert found["kind"] == "here" and found["command"]
    assert found["says"] and found["loses"] and found["undo"]
    return found


async def mend(jupyter: Any, repair: dict[str, Any]) -> tuple[str, set[str]]:
    """What it said, and the codes that are found afterwards."""
    body = {"code": repair["code"], "command": repair["command"]}
    events = [event for _, event in await jupyter.stream(REPAIRS, method="POST", body=body)]
    said = "".join(event["text"] for event in events if event["event"] == "output")
    kinds = [event["event"] for event in events]
    assert kinds.index("repaired") < kinds.index("started") < kinds.index("finished")
    return said, {finding["code"] for finding in events[-1]["report"]["findings"]}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment without pip."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    return folder


def install(environment: Path, name: str, version: str) -> Path:
    """A package that is nothing but its metadata."""
    (site,) = environment.glob("lib/python*/site-packages")
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "INSTALLER").write_text("pip\n")
    (info / "RECORD").write_text(
        "".join(f"{info.name}/{file},,\n" for file in ("METADATA", "INSTALLER", "RECORD"))
    )
    return info


async def test_packages_are_uninstalled_without_the_environments_own_pip(
    jupyter: Any, environment: Path
) -> None:
    infos = [install(environment, "triton", version) for version in ("1.0", "2.0")]
    jupyter.add_kernel("own", [str(environment / "bin" / "python"), *IPYKERNEL])
    assert "GC306" in await examine(jupyter, "own")
    repair = await offered(jupyter, "GC306")
    assert str(environment / "bin" / "python") in repair["command"]
    said, codes = await mend(jupyter, repair)
    assert "Successfully uninstalled triton" in said
    assert "GC306" not in codes
    assert [info.exists() for info in infos].count(True) == 1


async def test_a_stray_file_is_set_aside(jupyter: Any, tmp_path: Path) -> None:
    """GC205: no package owns what keeps ipykernel from being imported."""
    venv.create(tmp_path / "own", symlinks=True)
    (site,) = (tmp_path / "own").glob("lib/python*/site-packages")
    (site / "others.pth").write_text(os.path.dirname(os.path.dirname(pytest.__file__)))
    stray = site / "traitlets.py"
    stray.write_text("raise ImportError('written by hand')")
    jupyter.add_kernel("own", [str(tmp_path / "own" / "bin" / "python"), *IPYKERNEL])
    before = await examine(jupyter, "own")
    assert "GC205" in before
    repair = await offered(jupyter, "GC205")
    assert repair["command"] == f"mv -n {stray} {stray}.set-aside"
    said, codes = await mend(jupyter, repair)
    assert codes == before - {"GC205"}
    (aside,) = site.glob("traitlets.py.set-aside-*")
    assert "written by hand" in aside.read_text() and str(aside) in said
    # the way back, as it is said
    aside.rename(stray)
    assert "GC205" in await examine(jupyter, "own")


async def test_what_belongs_to_another_user_is_not_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "six.py"
    file.write_text("kept")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(RepairFailed, match="not yours"):
        await collect(SetAside(str(file)))
    assert list(tmp_path.iterdir()) == [file]


async def test_a_variable_leaves_the_kernels_settings(
    jupyter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/needed/by/others")
    jupyter.add_kernel(
        "preloaded", [sys.executable, *IPYKERNEL], {"LD_PRELOAD": "/nowhere/lib.so", "A": "b"}
    )
    assert "GC213" in await examine(jupyter, "preloaded")
    said, codes = await mend(jupyter, await offered(jupyter, "GC213"))
    assert "GC213" not in codes
    folder = jupyter.data / "kernels" / "preloaded"
    assert json.loads((folder / "kernel.json").read_text())["env"] == {"A": "b"}
    assert "LD_PRELOAD" in (folder / "kernel.json.before").read_text()
    assert "kernel.json.before" in said
    assert os.environ["LD_LIBRARY_PATH"] == "/needed/by/others"


async def test_a_variable_of_the_server_is_not_passed_on_any_more(
    jupyter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/nowhere/lib.so")
    jupyter.add_kernel("good", [sys.executable, *IPYKERNEL])
    assert "GC213" in await examine(jupyter, "good")
    said, codes = await mend(jupyter, await offered(jupyter, "GC213"))
    assert "GC213" not in codes
    assert "LD_PRELOAD" not in os.environ
    assert "in what is started from now on" in said


@pytest.fixture
def leftover() -> Iterator[Path]:
    path = Path(f"/dev/shm/torch_gpucamp-test-{os.getpid()}")
    path.write_bytes(b"x" * 100)
    yield path
    path.unlink(missing_ok=True)


async def test_shared_memory_that_nobody_uses_is_deleted(jupyter: Any, leftover: Path) -> None:
    jupyter.add_kernel("good", [sys.executable, *IPYKERNEL])
    assert "GC403" in await examine(jupyter, "good")
    repair = await offered(jupyter, "GC403")
    assert str(leftover) in repair["command"]
    await mend(jupyter, repair)
    assert not leftover.exists()


async def test_what_came_into_use_since_then_is_left_alone(jupyter: Any, leftover: Path) -> None:
    jupyter.add_kernel("good", [sys.executable, *IPYKERNEL])
    await examine(jupyter, "good")
    repair = await offered(jupyter, "GC403")
    with leftover.open("rb"):
        said, _codes = await mend(jupyter, repair)
    assert leftover.exists()
    assert f"{leftover.name} is in use" in said


async def test_what_was_not_shown_is_not_done(jupyter: Any, leftover: Path) -> None:
    assert (await jupyter.fetch(REPAIRS)).code == 404
    shown = {"code": "GC403", "command": f"rm -f -- {leftover}"}
    assert (await jupyter.fetch(REPAIRS, method="POST", body=shown)).code == 404
    jupyter.add_kernel("good", [sys.executable, *IPYKERNEL])
    await examine(jupyter, "good")
    for body, status in (
        ({"code": "GC403", "command": "rm -rf /"}, 409),
        ({"code": "GC999", "command": shown["command"]}, 409),
        ({"code": "GC403"}, 400),
        ({"code": 3, "command": None}, 400),
        ([], 400),
    ):
        answer = await jupyter.fetch(REPAIRS, method="POST", body=body)
        assert answer.code == status, body
        assert json.loads(answer.body)["message"]
    assert leftover.exists()


async def test_a_report_that_cannot_be_kept_says_so(jupyter: Any) -> None:
    """On the disk that is full, say; here a file is where its folder should be."""
    (jupyter.root / ".gpucamp").write_text("")
    jupyter.add_kernel("good", [sys.executable, *IPYKERNEL])
    body = {"kernel": "good"}
    events = await jupyter.stream("gpucamp/doctor/examinations", method="POST", body=body)
    assert ".gpucamp" in events[-1][1]["report"]["not_kept"]
    (jupyter.root / ".gpucamp").unlink()
    events = await jupyter.stream("gpucamp/doctor/examinations", method="POST", body=body)
    assert events[-1][1]["report"]["not_kept"] == ""
    assert await jupyter.json("gpucamp/doctor/report") == events[-1][1]["report"]


async def collect(*steps: Any, environ: dict[str, str] | None = None) -> str:
    repair = Repair("here", steps)
    return "".join([text async for text in carry_out(repair, environ or dict(os.environ))])


async def test_only_the_rank_that_was_seen_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
    try:
        now = [
            {"pid": ranks[0].pid, "command": "sleep 600"},
            {"pid": ranks[1].pid, "command": "somebody else"},
        ]
        monkeypatch.setattr(resources, "orphan_ranks", lambda: now)
        gone = subprocess.Popen(["true"])
        gone.wait()
        seen = {ranks[0].pid: "sleep 600", ranks[1].pid: "sleep 600", gone.pid: "sleep 600"}
        said = await collect(EndRanks(seen))
        assert ranks[0].wait(10) == -9
        assert ranks[1].poll() is None
        assert f"{ranks[1].pid} is another process now" in said
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()


async def test_a_folder_is_set_aside_not_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "module.py").write_text("kept")
    said = await collect(SetAside(str(folder)))
    (aside,) = tmp_path.iterdir()
    assert aside.name.startswith("site-packages.set-aside-") and str(aside) in said
    assert (aside / "module.py").read_text() == "kept"
    with pytest.raises(RepairFailed, match="set aside"):
        await collect(SetAside(str(folder)))


async def test_lines_of_a_start_up_file_do_nothing_any_more(tmp_path: Path) -> None:
    """Also where a line was all that a branch did: the file is still a script."""
    real, link = tmp_path / "kept" / "profile", tmp_path / ".profile"
    real.parent.mkdir()
    old = (
        'if true; then\n  export LD_LIBRARY_PATH="/tmp/x:$LD_LIBRARY_PATH"\nfi\n'
        "export LD_LIBRARY_PATH=/y\necho \xff $LD_LIBRARY_PATH\n"
    ).encode("latin-1")
    real.write_bytes(old)
    real.chmod(0o640)
    link.symlink_to(real)
    environ = {"LD_LIBRARY_PATH": "/tmp/x:/opt/gpucamp/practice/lib:/y", "HOME": str(tmp_path)}
    found = origins.find(["LD_LIBRARY_PATH"], environ, str(tmp_path), {}, "")
    lines = [
        Line(**{**line, "entries": tuple(line["entries"])})
        for line in found["LD_LIBRARY_PATH"]["lines"]  # type: ignore[index]
    ]
    assert [line.number for line in lines] == [2, 4]
    step = Silence("LD_LIBRARY_PATH", str(link), tuple(lines))
    typed = tmp_path / "typed" / "profile"  # what the command that is shown does
    typed.parent.mkdir()
    typed.write_bytes(old)
    command = step.command.replace(str(link), str(typed))
    subprocess.run(["sh", "-c", command], check=True, timeout=60)

    said = await collect(step, environ=environ)

    assert "line 2, 4 does nothing now" in said
    assert real.read_bytes() == typed.read_bytes() != old
    assert (tmp_path / ".profile.before").read_bytes() == old
    assert real.stat().st_mode & 0o777 == 0o640 and link.is_symlink()
    assert environ["LD_LIBRARY_PATH"] == "/opt/gpucamp/practice/lib"
    done = subprocess.run(["sh", str(real)], capture_output=True, check=True, timeout=60, env={})
    assert done.stdout == b"\xc3\xbf\n" or done.stdout == b"\xff\n"
    with pytest.raises(RepairFailed, match="changed meanwhile"):
        await collect(step, environ=environ)
    assert real.read_bytes() == typed.read_bytes()


async def test_a_file_that_cannot_be_changed_says_so(tmp_path: Path) -> None:
    line = Line(str(tmp_path / "gone"), 1, "X=1")
    with pytest.raises(RepairFailed, match="could not be changed"):
        await collect(Silence("X", line.file, (line,)))
    with pytest.raises(RepairFailed, match="settings could not be changed"):
        await collect(UnsetInKernel("X", str(tmp_path / "gone"), "mine", "GC212"))
    (tmp_path / "kernel.json").write_text("[" * 10**5)
    with pytest.raises(RepairFailed, match="settings could not be changed"):
        await collect(UnsetInKernel("X", str(tmp_path / "kernel.json"), "mine", "GC212"))


async def test_a_part_of_a_variable_that_is_the_images_stays() -> None:
    environ = {"LD_LIBRARY_PATH": "/x:/image"}
    assert "is /image" in await collect(Unset("LD_LIBRARY_PATH", "/image"), environ=environ)
    assert environ == {"LD_LIBRARY_PATH": "/image"}


async def test_what_may_be_broken_is_kept_from_pip() -> None:
    show = (
        "import os; print(sorted(set(os.environ) & {'LD_PRELOAD', 'PYTHONPATH', 'PIP_USER', 'A'}))"
    )
    environ = {"LD_PRELOAD": "", "PYTHONPATH": "/x", "PIP_USER": "1", "A": "b", "API_KEY": "x"}
    assert await collect(Run((sys.executable, "-c", show)), environ=environ) == "['A']\n"


@pytest.fixture
def slow(jupyter: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that a slow repair of GC213 writes when it is done."""
    done = tmp_path / "done"
    program = f"echo begun; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo x > {done}"
    monkeypatch.setattr(plan_variables, "unset", lambda *_: [Run(("sh", "-c", program))])
    monkeypatch.setitem(plan_variables.WORDS, Run, ("Does.", "Undoes."))
    jupyter.add_kernel("preloaded", [sys.executable, *IPYKERNEL], {"LD_PRELOAD": "/nowhere/x.so"})
    return done


async def begin(jupyter: Any) -> tuple[dict[str, str], asyncio.Task[Any], list[bytes]]:
    """A repair that has begun: its consent, its request, what was said."""
    assert "GC213" in await examine(jupyter, "preloaded")
    repair = await offered(jupyter, "GC213")
    body = {"code": "GC213", "command": repair["command"]}
    said: list[bytes] = []
    request = asyncio.create_task(
        jupyter.fetch(REPAIRS, method="POST", body=body, on_chunk=said.append)
    )
    while b"begun" not in b"".join(said):
        await asyncio.sleep(0.02)
    return body, request, said


async def begin_and_leave(jupyter: Any) -> dict[str, str]:
    """The same, and the connection is lost."""
    assert "GC213" in await examine(jupyter, "preloaded")
    body = {"code": "GC213", "command": (await offered(jupyter, "GC213"))["command"]}
    sent = json.dumps(body).encode()
    head = (
        f"POST /user/ada/{REPAIRS} HTTP/1.1\r\nHost: 127.0.0.1:{jupyter.port}\r\n"
        f"Authorization: token {jupyter.app.identity_provider.token}\r\n"
        f"Content-Length: {len(sent)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", jupyter.port)
    writer.write(head.encode() + sent)
    await reader.readuntil(b"begun")
    writer.transport.abort()
    return body


async def test_two_repairs_at_once(jupyter: Any, slow: Path) -> None:
    body, request, said = await begin(jupyter)
    second = await jupyter.fetch(REPAIRS, method="POST", body=body)
    assert second.code == 409 and b"under way" in second.body
    assert await jupyter.json(REPAIRS) == {"kernel": "", "running": "GC213", "repairs": []}
    (slow.parent / "go").touch()
    assert (await request).code == 200
    assert b'"repaired"' in b"".join(said) and b'"finished"' in b"".join(said)
    assert (await jupyter.json(REPAIRS))["running"] == ""
    assert await jupyter.json(REPAIRS, method="DELETE") == {"stopped": False}


async def test_a_repair_goes_on_when_its_reader_is_lost(jupyter: Any, slow: Path) -> None:
    body = await begin_and_leave(jupyter)
    assert (await jupyter.json(REPAIRS))["running"] == "GC213"
    (slow.parent / "go").touch()
    while not slow.exists():
        await asyncio.sleep(0.02)
    while (await jupyter.fetch(REPAIRS)).code != 404:  # the report is of before
        await asyncio.sleep(0.02)
    assert (await jupyter.fetch(REPAIRS, method="POST", body=body)).code == 404


async def test_a_repair_that_is_stopped_says_so(jupyter: Any, slow: Path) -> None:
    _body, request, said = await begin(jupyter)
    assert await jupyter.json(REPAIRS, method="DELETE") == {"stopped": True}
    await request
    last = json.loads(b"".join(said).strip().splitlines()[-1])
    assert last["event"] == "error" and last["message"].startswith("It was stopped.")
    assert not slow.exists()


async def test_the_server_that_stops_ends_a_repair(jupyter: Any, slow: Path) -> None:
    _body, request, _said = await begin(jupyter)
    await handlers.stop(jupyter.app.web_app.settings)
    await request
    assert (await jupyter.fetch(REPAIRS)).code == 404


async def test_a_program_that_fails_says_so() -> None:
    with pytest.raises(RepairFailed, match="status 3"):
        await collect(Run((sys.executable, "-c", "raise SystemExit(3)")))
    with pytest.raises(RepairFailed, match="could not be started"):
        await collect(Run(("/nowhere/program",)))


async def test_one_that_says_too_much_is_cut(tmp_path: Path) -> None:
    said = await collect(Run((sys.executable, "-c", "print('x' * 10**7)")))
    assert 1000 < len(said) <= 64 * 1024


async def test_a_cancelled_repair_leaves_no_process(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    program = f"sleep 600 & echo $! $$ > {pids}; echo begun; wait"
    task = asyncio.create_task(collect(Run(("sh", "-c", program))))
    while not pids.exists() or not pids.read_text().strip():
        await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.wait([task])
    for pid in pids.read_text().split():
        while Path(f"/proc/{pid}").exists():
            if "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]:
                break
            await asyncio.sleep(0.02)
