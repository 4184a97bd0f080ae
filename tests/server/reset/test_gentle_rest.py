"""The mild choices over a real server's REST interface: kernels, packages, files in the home."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from own_environment import Environment
from scripted_service import ScriptedService

from server_ext.reset import moves

pytestmark = pytest.mark.timeout(120)
CHOICES = ("kernels", "packages", "moves")


async def start_kernel(lab: Any) -> tuple[str, int]:
    """A kernel's id and process."""
    kernel_id = (await lab.json("api/kernels", method="POST", body={}))["id"]
    return kernel_id, process_of(lab, kernel_id)


def process_of(lab: Any, kernel_id: str) -> int:
    return int(lab.app.kernel_manager.get_kernel(kernel_id).provisioner.process.pid)


async def test_all_kernels_get_new_processes(lab: Any) -> None:
    kernels = [await start_kernel(lab) for _ in range(2)]
    answer = await lab.json("gpucamp/reset/kernels", method="POST")
    assert sorted(answer["restarted"]) == sorted(kernel_id for kernel_id, _ in kernels)
    assert answer["failed"] == []
    for kernel_id, process in kernels:
        assert process_of(lab, kernel_id) != process


async def test_a_kernel_that_does_not_come_back_is_told(lab: Any) -> None:
    well, _ = await start_kernel(lab)
    lab.add_kernel("mine", ["/bin/sleep", "600"])
    body = {"name": "mine"}
    broken = (await lab.json("api/kernels", method="POST", body=body))["id"]
    manager = lab.app.kernel_manager.get_kernel(broken)

    async def fails(**_: object) -> None:
        raise OSError("no such program")

    manager.restart_kernel = fails
    answer = await lab.json("gpucamp/reset/kernels", method="POST")
    assert answer == {"restarted": [well], "failed": [broken]}


def make_template(folder: Path) -> None:
    """What the image would have."""
    (folder / "environment" / "bin").mkdir(parents=True)
    (folder / "environment" / "bin" / "python").symlink_to("/bin/sh")


async def test_packages_are_removed_and_kernels_restarted(
    lab: Any, own: Environment, tmp_path: Path
) -> None:
    own.add("six", "1.0.0")
    make_template(tmp_path / "image")
    lab.app.web_app.settings["gpucamp_reset_image"] = str(tmp_path / "image")
    answer = await lab.json("gpucamp/reset/packages", method="POST", body={})
    assert answer == {"removed": 1, "kernels": {"restarted": [], "failed": []}}
    assert not any(name.startswith("six") for name in names_below(own.prefix))
    for _ in range(600):
        if not names_below(lab.home / ".gpucamp-removed"):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("what was removed stays on the disk")


def names_below(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*")]


async def test_without_an_image_nothing_is_removed(lab: Any, own: Environment) -> None:
    own.add("six", "1.0.0")
    lab.app.web_app.settings["gpucamp_reset_image"] = str(lab.home / "nowhere")
    response = await lab.fetch("gpucamp/reset/packages", method="POST")
    assert response.code == 409
    assert "six-1.0.0.dist-info" in names_below(own.prefix)


def save(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


async def test_files_outside_work_are_told_and_moved(lab: Any) -> None:
    odd = os.fsdecode(b"not \xff unicode")
    save(lab.home, "data.csv", "results/one.txt", "results/two.txt", ".bashrc", ".cache/x/y")
    (lab.home / odd).write_text("odd")
    (lab.home / "empty").mkdir()
    outside = (await lab.json("gpucamp/reset"))["outside"]
    assert outside["files"] == [
        {"path": "data.csv", "bytes": 8, "folder": False},
        {"path": odd, "bytes": 3, "folder": False},
        {"path": "results", "bytes": 30, "folder": True},
    ]
    body = {"paths": [file["path"] for file in outside["files"]] + [".bashrc"]}
    answer = await lab.json("gpucamp/reset/moves", method="POST", body=body)
    assert [(one["path"], one["to"]) for one in answer["moved"]] == [
        (name, f"from-home/{name}") for name in ("data.csv", odd, "results")
    ]
    (failed,) = answer["failed"]
    assert failed["path"] == ".bashrc" and failed["why"]
    assert sorted(names_below(lab.root / "from-home")) == sorted(
        ["data.csv", odd, "results", "one.txt", "two.txt"]
    )
    assert (await lab.json("gpucamp/reset"))["outside"] == {"files": [], "bytes": 0, "more": 0}


async def test_a_move_that_goes_on_is_told(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "gpucamp/reset/moves"
    assert await lab.json(path) == {"moving": None}
    save(lab.home, "results/one.txt")
    held, goes_on = threading.Event(), threading.Event()
    measure = moves.measure

    def wait(*arguments: Any) -> Any:
        held.set()
        assert goes_on.wait(60)
        return measure(*arguments)

    # between two file systems, as in a container
    monkeypatch.setattr(moves.rename, "without_replacing", _other_file_system(held))
    monkeypatch.setattr(moves, "measure", wait)
    moved = asyncio.create_task(lab.json(path, method="POST", body={"paths": ["results"]}))
    assert await asyncio.to_thread(held.wait, 60)
    assert await lab.json(path) == {
        "moving": {"path": "results", "copied_bytes": 0, "total_bytes": None}
    }
    lab.visitor = "bob"
    assert (await lab.fetch(path)).code == 403
    lab.visitor = "ada"
    goes_on.set()
    assert (await moved)["moved"] == [{"path": "results", "to": "from-home/results"}]
    assert await lab.json(path) == {"moving": None}


def _other_file_system(held: threading.Event) -> Any:
    """A rename that fails until a copy is on its way."""
    without_replacing = moves.rename.without_replacing

    def rename(source: Path, target: Path) -> None:
        if not held.is_set():
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        without_replacing(source, target)

    return rename


@pytest.mark.parametrize(
    "body", [{}, {"paths": "x"}, {"paths": [1]}, {"paths": ["x"] * 1001}, {"paths": [], "to": "x"}]
)
async def test_moves_refused(lab: Any, body: Any) -> None:
    response = await lab.fetch("gpucamp/reset/moves", method="POST", body=body)
    assert response.code == 400


@pytest.mark.parametrize("choice", CHOICES)
async def test_only_the_servers_own_user(
    lab: Any, own: Environment, service: ScriptedService, choice: str
) -> None:
    own.add("six", "1.0.0")
    save(lab.home, "data.csv")
    lab.visitor = "bob"  # to whom ada has shared her server
    body = {"paths": ["data.csv"]} if choice == "moves" else {}
    response = await lab.fetch(f"gpucamp/reset/{choice}", method="POST", body=body)
    assert response.code == 403 and "ada" in json.loads(response.body)["message"]
    response = await lab.fetch(f"gpucamp/reset/{choice}", method="POST", body=body, token=None)
    assert response.code in (302, 403)
    assert "data.csv" in names_below(lab.home) and "six-1.0.0.dist-info" in names_below(own.prefix)


@pytest.mark.parametrize("choice", ["kernels", "packages"])
async def test_values_that_nobody_knows_are_refused(lab: Any, choice: str) -> None:
    response = await lab.fetch(f"gpucamp/reset/{choice}", method="POST", body={"force": True})
    assert response.code == 400
