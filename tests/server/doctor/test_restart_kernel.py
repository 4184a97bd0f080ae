"""A kernel that is ill is restarted as the doctor offers it, and is well then: real ipykernels of a
real Jupyter Server. What goes wrong meanwhile is told, and leaves no kernel ended.
"""

# ruff: noqa: ASYNC240 - nobody waits beside these tests

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from notebooks import (
    IPYKERNEL,
    REPAIRS,
    Notebook,
    carry_out,
    examine,
    findings,
    mended,
    of_running,
    offered,
    open_notebook,
    until,
    with_torch,
)

from server_ext.doctor import running_kernels
from server_ext.doctor.repairs import restart_kernel

pytestmark = pytest.mark.timeout(180)


async def test_what_a_new_process_does_not_have(jupyter: Any, tmp_path: Path) -> None:
    """GC711, GC712, GC713, GC722, GC723, GC724: each gone after its own repair."""
    package = with_torch(jupyter, tmp_path)
    (tmp_path / "libcudart.so.12").write_bytes(b"x" * 4096)
    notebook = await open_notebook(jupyter, kernel="torch")
    library = tmp_path / "libcudart.so.12"
    illnesses = (
        ("GC723", "", None),
        ("GC724", "torch.unusable = 5 << 30", None),
        ("GC722", "torch.error = 'CUDA error: device-side assert triggered'", None),
        ("GC713", f"f = open({str(library)!r}, 'rb')\nm = mmap.mmap(f.fileno(), 0, prot=1)", None),
        ("GC712", "", package / "lib" / "libtorch_cpu.so"),
        ("GC711", "", package / "version"),
    )
    for code, cell, file in illnesses:
        await notebook.ok(f"import torch, mmap\n{cell}")
        if file is not None:
            text = file.read_text()
            file.unlink()
            file.write_text("2.14.0" if text == "2.9.1" else text)
        pid = notebook.pid
        report = await examine(jupyter, notebook)
        assert code in of_running(report), report["findings"]
        repair = await offered(jupyter, code)
        assert repair["kind"] == "kernel"
        assert repair["command"] == f"POST api/kernels/{notebook.kernel_id}/restart"
        assert findings(report)[code]["command"] == "", "it is nothing to type"
        after = await mended(jupyter, report, code)
        # it is the running kernel that is examined again, not what its settings would start
        assert after["kernel_id"] == notebook.kernel_id and notebook.pid != pid
        assert after["facts"]["running"]["value"]["pid"] == notebook.pid
        assert of_running(after) == set()


async def test_settings_that_were_changed_since_it_was_started(
    jupyter: Any, monkeypatch: Any
) -> None:
    """GC714."""
    monkeypatch.setenv("TORCH_HOME", "/of/the/server")
    jupyter.add_kernel("mine", [sys.executable, *IPYKERNEL], {"OMP_NUM_THREADS": "3"})
    notebook = await open_notebook(jupyter, kernel="mine")
    settings = jupyter.data / "kernels" / "mine" / "kernel.json"
    spec = json.loads(settings.read_text())
    settings.write_text(json.dumps({**spec, "env": {"OMP_NUM_THREADS": "2"}}))
    monkeypatch.setenv("TORCH_HOME", "/of/the/server/now")
    report = await examine(jupyter, notebook)
    assert of_running(report) == {"GC714"}
    # by itself, Jupyter restarts a kernel with what it was started with first
    pid = notebook.pid
    await jupyter.json(f"api/kernels/{notebook.kernel_id}/restart", method="POST")
    await notebook.idle(lambda: notebook.pid != pid)
    report = await examine(jupyter, notebook)
    assert findings(report)["GC714"]["params"] == {"names": "OMP_NUM_THREADS, TORCH_HOME"}
    after = await mended(jupyter, report, "GC714")
    variables = after["facts"]["environment"]["value"]["variables"]
    assert of_running(after) == set()
    assert (variables["OMP_NUM_THREADS"], variables["TORCH_HOME"]) == ("2", "/of/the/server/now")
    assert await notebook.value("__import__('os').environ['JPY_SESSION_NAME'][-7:]") == "'a.ipynb'"


async def test_what_would_bring_the_library_again_goes_before_the_restart(
    jupyter: Any, tmp_path: Path
) -> None:
    """GC713, of a kernel whose settings name the folder of the library."""
    with_torch(jupyter, tmp_path)
    library = tmp_path / "cuda" / "libcudart.so.12"
    library.parent.mkdir()
    library.write_bytes(b"x" * 4096)
    settings = jupyter.data / "kernels" / "torch" / "kernel.json"
    spec = json.loads(settings.read_text())
    env = {**spec["env"], "LD_LIBRARY_PATH": str(library.parent)}
    settings.write_text(json.dumps({**spec, "env": env}))
    notebook = await open_notebook(jupyter, kernel="torch")
    await notebook.ok(
        f"import torch, mmap; f = open({str(library)!r}, 'rb')\n"
        "m = mmap.mmap(f.fileno(), 0, prot=1)"
    )
    report = await examine(jupyter, notebook)
    assert {"GC212", "GC713"} <= set(findings(report))
    after = await mended(jupyter, report, "GC713")
    assert of_running(after) == set() and "GC212" not in findings(after)
    assert json.loads(settings.read_text())["env"] == spec["env"]
    assert await notebook.value("__import__('os').environ.get('LD_LIBRARY_PATH')") == "None"


async def test_a_kernel_that_does_not_answer(jupyter: Any, monkeypatch: Any) -> None:
    """GC704: it is stopped, and its process does not even end when it is asked to."""
    monkeypatch.setattr(running_kernels, "SECONDS", 0.5)
    notebook = await open_notebook(jupyter)
    notebook.manager.shutdown_wait_time = 0.5
    os.kill(notebook.pid, signal.SIGSTOP)
    report = await examine(jupyter, notebook)
    assert of_running(report) == {"GC704"}
    monkeypatch.setattr(running_kernels, "SECONDS", 30)
    assert of_running(await mended(jupyter, report, "GC704")) == set()
    assert await notebook.value("1 + 1") == "2"


async def test_a_kernel_whose_process_is_not_known(jupyter: Any, monkeypatch: Any) -> None:
    """GC702."""
    notebook = await open_notebook(jupyter)
    notebook.manager.provisioner.pid = None
    report = await examine(jupyter, notebook)
    assert of_running(report) == {"GC702"}
    assert of_running(await mended(jupyter, report, "GC702")) == set()


async def test_its_variables_are_lost_as_was_said(jupyter: Any, tmp_path: Path) -> None:
    with_torch(jupyter, tmp_path)
    notebook = await open_notebook(jupyter, kernel="torch")
    await notebook.ok("import torch\nanswer = 42")
    await examine(jupyter, notebook)
    repair = await offered(jupyter, "GC723")
    assert any("variables" in text for text in repair["loses"]), repair
    said = "".join(each.get("text", "") for each in await carry_out(jupyter, repair))
    assert "it answers" in said
    assert (await notebook.run("answer"))["ename"] == "NameError"


@pytest.fixture
async def ill(jupyter: Any, tmp_path: Path) -> Notebook:
    """A notebook whose kernel was examined, and is ill (GC723)."""
    with_torch(jupyter, tmp_path)
    notebook = await open_notebook(jupyter, kernel="torch")
    await notebook.ok("import torch")
    assert of_running(await examine(jupyter, notebook)) == {"GC723"}
    return notebook


async def refused(jupyter: Any) -> str:
    """What is said of a repair that is not done."""
    repair = await offered(jupyter, "GC723")
    said: list[bytes] = []
    body = {"code": "GC723", "command": repair["command"]}
    answer = await jupyter.fetch(REPAIRS, method="POST", body=body, on_chunk=said.append)
    lines = [json.loads(line) for line in b"".join(said).splitlines()]
    if answer.code == 200:  # it had begun
        assert [line["event"] for line in lines if line["event"] != "output"] == ["error"], lines
    else:
        assert answer.code == 503, answer.code
    return str(lines[-1]["message"])


async def test_a_kernel_that_was_restarted_meanwhile_is_left_alone(
    jupyter: Any, ill: Notebook
) -> None:
    await jupyter.json(f"api/kernels/{ill.kernel_id}/restart", method="POST")
    await ill.idle()
    pid = ill.pid
    assert "was restarted meanwhile, so nothing was done" in await refused(jupyter)
    assert ill.pid == pid


async def test_a_kernel_that_is_gone_meanwhile(jupyter: Any, ill: Notebook) -> None:
    await jupyter.fetch(f"api/kernels/{ill.kernel_id}", method="DELETE")
    assert "has ended meanwhile" in await refused(jupyter)
    assert (await jupyter.fetch(REPAIRS)).code == 404, "the report is of before"


async def test_a_cell_that_runs_since_then_is_not_ended(
    jupyter: Any, ill: Notebook, tmp_path: Path
) -> None:
    began, go = tmp_path / "began", tmp_path / "go"
    cell = f"import pathlib, time\npathlib.Path({str(began)!r}).touch()\n"
    cell += f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)"
    running = asyncio.create_task(ill.ok(cell))
    await until(lambda: began.exists() and ill.state == "busy")
    assert "A cell runs in the kernel now" in await refused(jupyter)
    go.touch()
    await running


async def test_a_kernel_that_runs_a_cell_is_restarted_if_that_was_said(
    jupyter: Any, tmp_path: Path
) -> None:
    """GC714 is found of a busy kernel, too."""
    jupyter.add_kernel("mine", [sys.executable, *IPYKERNEL], {"OMP_NUM_THREADS": "3"})
    notebook = await open_notebook(jupyter, kernel="mine")
    settings = jupyter.data / "kernels" / "mine" / "kernel.json"
    settings.write_text(settings.read_text().replace('"3"', '"2"'))
    began = tmp_path / "began"
    cell = f"import pathlib, time\npathlib.Path({str(began)!r}).touch()\ntime.sleep(600)"
    running = asyncio.create_task(notebook.run(cell))
    await until(lambda: began.exists() and notebook.state == "busy")
    report = await examine(jupyter, notebook)
    assert of_running(report) == {"GC703", "GC714"}
    repair = await offered(jupyter, "GC714")
    assert any("A cell runs in it now" in text for text in repair["says"])
    assert of_running(await mended(jupyter, report, "GC714")) == set()
    running.cancel()
    await asyncio.wait([running])


async def test_a_kernel_that_does_not_come_back(
    jupyter: Any, ill: Notebook, monkeypatch: Any
) -> None:
    monkeypatch.setattr(jupyter.app.kernel_manager, "kernel_info_timeout", 1)
    settings = jupyter.data / "kernels" / "torch" / "kernel.json"
    spec = json.loads(settings.read_text())
    settings.write_text(json.dumps({**spec, "argv": ["/nowhere/python", "{connection_file}"]}))
    ill.manager._kernel_spec = None
    said = await refused(jupyter)
    assert "did not come back" in said and "/nowhere/python" in said


async def test_a_restart_that_takes_too_long_is_not_waited_for(
    jupyter: Any, ill: Notebook, monkeypatch: Any
) -> None:
    monkeypatch.setattr(restart_kernel, "SECONDS", 0.2)
    real, go, done = jupyter.app.kernel_manager.restart_kernel, asyncio.Event(), asyncio.Event()

    async def slow(kernel_id: str) -> Any:
        await go.wait()
        result = await real(kernel_id)
        done.set()
        return result

    monkeypatch.setattr(jupyter.app.kernel_manager, "restart_kernel", slow)
    pid = ill.pid
    assert "did not come back within 0.2 s" in await refused(jupyter)
    go.set()
    # nobody waits for it, and it is done all the same
    await ill.idle(lambda: ill.pid != pid)
    await done.wait()  # Jupyter cannot end a kernel while it restarts it


async def test_one_that_is_stopped_leaves_no_kernel_ended(
    jupyter: Any, ill: Notebook, monkeypatch: Any
) -> None:
    """Stop is pressed while the old process has ended and the new one is not there."""
    manager, ended, go = ill.manager, asyncio.Event(), asyncio.Event()
    start = manager._async_start_kernel

    async def slow(*arguments: Any, **options: Any) -> Any:
        ended.set()
        await go.wait()
        return await start(*arguments, **options)

    monkeypatch.setattr(manager, "_async_start_kernel", slow)
    pid = ill.pid
    request = asyncio.create_task(carry_out(jupyter, await offered(jupyter, "GC723")))
    await ended.wait()
    assert await jupyter.json(REPAIRS, method="DELETE") == {"stopped": True}
    assert "It was stopped" in (await request)[-1]["message"]
    go.set()
    await ill.idle(lambda: ill.pid not in (pid, None))
    assert await ill.value("1 + 1") == "2"


async def test_a_lost_reply_ends_nothing(jupyter: Any, ill: Notebook) -> None:
    repair, pid = await offered(jupyter, "GC723"), ill.pid
    body = json.dumps({"code": "GC723", "command": repair["command"]})
    head = (
        f"POST /user/ada/{REPAIRS} HTTP/1.1\r\nHost: 127.0.0.1:{jupyter.port}\r\n"
        f"Authorization: token {jupyter.app.identity_provider.token}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", jupyter.port)
    writer.write((head + body).encode())
    await reader.readuntil(b"restarting")
    writer.transport.abort()
    await ill.idle(lambda: ill.pid != pid)
    assert of_running(await examine(jupyter, ill)) == set()


async def test_another_repair_of_a_running_kernel_examines_that_again(
    jupyter: Any, tmp_path: Path
) -> None:
    """Not what its settings would start."""
    leftover = Path(f"/dev/shm/torch_gpucamp-test-{os.getpid()}")
    leftover.write_bytes(b"x")
    try:
        notebook = await open_notebook(jupyter)
        report = await examine(jupyter, notebook)
        after = await mended(jupyter, report, "GC403")
        assert after["kernel_id"] == notebook.kernel_id
        leftover.write_bytes(b"x")
        report = await examine(jupyter, notebook)
        repair = await offered(jupyter, "GC403")
        # and what it would start, where it does not run any more
        await jupyter.fetch(f"api/kernels/{notebook.kernel_id}", method="DELETE")
        after = (await carry_out(jupyter, repair))[-1]["report"]
        assert after["kernel_id"] == "" and not {"GC403", "GC701"} & set(findings(after))
    finally:
        leftover.unlink(missing_ok=True)
