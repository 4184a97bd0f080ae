"""Repairs over REST, on kernels, variables, files and processes that are there."""
# ruff: noqa: ASYNC110, ASYNC220, ASYNC240 - nobody waits beside these tests

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

from server_ext.doctor.probes import resources
from server_ext.doctor.repairs.carry_out import RepairFailed, carry_out
from server_ext.doctor.repairs.plan import EndRanks, Repair, Run, SetAside

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
    assert found["kind"] == "here" and found["command"] and found["says"]
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
    assert "what this server starts" in said


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


async def collect(step: Any) -> str:
    kernel: Any = type("Kernel", (), {"env": dict(os.environ)})
    return "".join([text async for text in carry_out(Repair("GC000", step, ""), kernel, "")])


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
