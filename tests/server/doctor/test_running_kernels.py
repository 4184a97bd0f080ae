"""A running kernel is examined as it runs: real ipykernels of a real Jupyter Server."""

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
    EXAMINATIONS,
    IPYKERNEL,
    examine,
    findings,
    of_running,
    offered,
    open_notebook,
    until,
    variables,
    with_torch,
)

from server_ext.doctor import running_kernels

pytestmark = pytest.mark.timeout(120)


async def test_it_is_examined_with_its_own_variables_folder_and_interpreter(
    jupyter: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/of/the/server")
    jupyter.add_kernel("mine", [sys.executable, *IPYKERNEL], {"OMP_NUM_THREADS": "3"})
    (jupyter.root / "folder").mkdir()
    (jupyter.root / "folder" / "torch.py").write_text("x = 1")
    notebook = await open_notebook(jupyter, "folder/a.ipynb", "mine")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/of/the/server/now")
    (jupyter.data / "kernels" / "mine" / "kernel.json").write_text(
        json.dumps(
            {"argv": [sys.executable, *IPYKERNEL], "display_name": "x", "language": "python"}
        )
    )
    report = await examine(jupyter, notebook)
    assert (report["kernel"], report["kernel_id"]) == ("mine", notebook.kernel_id)
    assert variables(report)["LD_LIBRARY_PATH"] == "/of/the/server"
    assert variables(report)["OMP_NUM_THREADS"] == "3"
    facts = report["facts"]["running"]["value"]
    assert facts["label"] == "folder/a.ipynb" and facts["pid"] == notebook.pid
    assert report["facts"]["kernelspec"]["value"]["executable"] == sys.executable
    assert findings(report)["GC215"]["params"]["files"] == "torch.py"
    finding = findings(report)["GC714"]
    assert finding["params"] == {"names": "LD_LIBRARY_PATH, OMP_NUM_THREADS"}
    assert "a new kernel: '/of/the/server/now'" in finding["evidence"][0]
    # what its settings would start is another thing
    report = await examine(jupyter, kernel="mine")
    assert report["kernel_id"] == "" and of_running(report) == set()
    assert variables(report)["LD_LIBRARY_PATH"] == "/of/the/server/now"


async def test_a_kernel_that_is_well_has_no_finding_of_its_own(jupyter: Any) -> None:
    notebook = await open_notebook(jupyter)
    report = await examine(jupyter, notebook)
    assert of_running(report) == set(), report["findings"]
    assert report["facts"]["asked"]["value"]["pid"] == notebook.pid


async def test_what_a_cell_set_counts_and_no_secret_is_told(jupyter: Any) -> None:
    jupyter.add_kernel("k", [sys.executable, *IPYKERNEL], {"WANDB_API_KEY": "hush-hush"})
    notebook = await open_notebook(jupyter, kernel="k")
    await notebook.ok(
        "import os\n"
        "os.environ['CUDA_VISIBLE_DEVICES'] = '-1'\n"
        "os.environ['LD_PRELOAD'] = '/too/late.so'\n"
        "os.environ['HF_TOKEN'] = 'hush-hush'\n"
        "os.environ['MY_SETTING'] = 'of-no-concern'\n"
    )
    await notebook.run("raise ValueError('hush-hush')")
    report = await examine(jupyter, notebook)
    assert variables(report)["CUDA_VISIBLE_DEVICES"] == "-1"
    assert "LD_PRELOAD" not in variables(report), "a program reads it when it starts"
    text = json.dumps(report)
    assert "hush-hush" not in text and "of-no-concern" not in text
    assert report["facts"]["asked"]["value"]["last_error"] == {"type": "ValueError", "text": ""}


TRACES = (
    "(sorted(n for n in globals() if n not in ('_', '__', '___')), len(In), sorted(Out), "
    "get_ipython().execution_count, _i, _, repr(getattr(__import__('sys'), 'last_value', None)), "
    "sorted(__import__('sys').modules))"
)


async def test_asking_leaves_nothing_behind(jupyter: Any) -> None:
    notebook = await open_notebook(jupyter)
    await notebook.ok("answer = 42\n_secret = answer\nanswer")
    await notebook.run("1/0")
    before = await notebook.value(TRACES)
    report = await examine(jupyter, notebook)
    assert report["facts"]["asked"]["value"]["asked"] is True
    assert await notebook.value(TRACES) == before
    reply = await notebook.run("print(_secret)")
    assert reply["execution_count"] == 4


async def test_a_busy_kernel_is_not_asked(jupyter: Any, tmp_path: Path) -> None:
    notebook = await open_notebook(jupyter)
    began, go = tmp_path / "began", tmp_path / "go"
    cell = asyncio.create_task(
        notebook.ok(
            "import pathlib, time\n"
            f"pathlib.Path({str(began)!r}).touch()\n"
            f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)\n"
        )
    )
    await until(lambda: began.exists() and notebook.state == "busy")
    report = await examine(jupyter, notebook)
    assert not cell.done()
    assert of_running(report) == {"GC703"}
    assert findings(report)["GC703"]["severity"] == "advice"
    assert report["facts"]["asked"]["value"] == {"asked": False, "why": "busy"}
    assert report["facts"]["running"]["value"]["state"] == "alive", "its process is looked at"
    assert "gpu_still_works_for_it" in report["checks_unexamined"]
    assert "GC901" not in findings(report)
    go.touch()
    await cell


async def test_an_idle_kernel_that_does_not_answer_is_not_waited_for(
    jupyter: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(running_kernels, "SECONDS", 0.5)
    notebook = await open_notebook(jupyter)
    os.kill(notebook.pid, signal.SIGSTOP)
    try:
        report = await examine(jupyter, notebook)
    finally:
        os.kill(notebook.pid, signal.SIGCONT)
    assert of_running(report) == {"GC704"}
    assert report["facts"]["asked"]["failure"]["kind"] == "timeout"
    # it reads the question now, and goes on as if there had been none
    assert await notebook.value("len(In)") == "2"


async def test_who_leaves_while_a_kernel_is_silent_leaves_nothing(
    jupyter: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(running_kernels, "SECONDS", 600)
    question, seen = running_kernels._question, []

    async def watched(manager: Any) -> Any:
        seen.append("asked")
        try:
            return await question(manager)
        finally:
            seen.append("over")

    monkeypatch.setattr(running_kernels, "_question", watched)
    notebook = await open_notebook(jupyter)
    os.kill(notebook.pid, signal.SIGSTOP)
    try:
        body = json.dumps({"kernel_id": notebook.kernel_id})
        _, writer = await asyncio.open_connection("127.0.0.1", jupyter.port)
        lines = [
            f"POST /user/ada/{EXAMINATIONS} HTTP/1.1",
            "Host: 127.0.0.1",
            "Authorization: token the-token-of-the-tests",
            f"Content-Length: {len(body)}",
            "",
            body,
        ]
        writer.write("\r\n".join(lines).encode())
        await until(lambda: seen == ["asked"])
        writer.close()
        await until(lambda: seen == ["asked", "over"])
    finally:
        os.kill(notebook.pid, signal.SIGCONT)
    # and the doctor is free for another kernel
    assert (await examine(jupyter, kernel="python3"))["kernel_id"] == ""


async def test_what_its_torch_says(jupyter: Any, tmp_path: Path) -> None:
    package = with_torch(jupyter, tmp_path)
    notebook = await open_notebook(jupyter, kernel="torch")
    await notebook.ok("import torch")
    assert of_running(await examine(jupyter, notebook)) == {"GC723"}
    await notebook.ok("torch.unusable = 5 << 30; torch.backends.cudnn.benchmark = True")
    await notebook.run("raise RuntimeError('CUDA error: device-side assert triggered')")
    # another torch is installed meanwhile, and a library that is loaded is replaced
    (package / "version").write_text("2.14.0")
    (package / "lib" / "libtorch_cpu.so").unlink()
    (package / "lib" / "libtorch_cpu.so").write_bytes(b"y" * 4096)
    report = await examine(jupyter, notebook)
    assert of_running(report) == {"GC711", "GC712", "GC722", "GC724", "GC725"}, report["findings"]
    assert findings(report)["GC711"]["params"] == {"packages": "torch 2.9.1"}
    assert "2.14.0" in findings(report)["GC711"]["evidence"][0]
    assert report["verdict"] == "blocked"


async def test_a_library_of_elsewhere(jupyter: Any, tmp_path: Path) -> None:
    with_torch(jupyter, tmp_path)
    toolkit = tmp_path / "cuda"
    toolkit.mkdir()
    (toolkit / "libcudart.so.12").write_bytes(b"x" * 4096)
    notebook = await open_notebook(jupyter, kernel="torch")
    await notebook.ok(
        f"import torch, mmap; f = open({str(toolkit / 'libcudart.so.12')!r}, 'rb')\n"
        "m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)"
    )
    report = await examine(jupyter, notebook)
    assert of_running(report) == {"GC713", "GC723"}
    assert findings(report)["GC713"]["evidence"] == [str(toolkit / "libcudart.so.12")]


async def test_another_kernel_that_holds_the_memory_is_named(jupyter: Any, tmp_path: Path) -> None:
    with_torch(jupyter, tmp_path)
    holder = await open_notebook(jupyter, "holder.ipynb", "torch")
    await holder.ok("import torch")
    other = await open_notebook(jupyter, "other.ipynb")
    for report in (await examine(jupyter, other), await examine(jupyter, kernel="python3")):
        assert of_running(report) == {"GC731"}, report["findings"]
        finding = findings(report)["GC731"]
        assert finding["params"] == {"memory": "31.0 GiB", "kernels": "holder.ipynb"}
        assert f"process {holder.pid}" in finding["evidence"][0]
    table = {row["label"]: row for row in report["facts"]["kernels"]["value"]["kernels"]}
    assert set(table) == {"holder.ipynb", "other.ipynb"}
    assert table["other.ipynb"]["gpu"] is False and table["other.ipynb"]["resident_bytes"] > 0
    assert "GC731" not in of_running(await examine(jupyter, holder))
    # as it is offered: JupyterLab shuts down the one that is chosen from the list of kernels
    before = await examine(jupyter, other)
    assert (await offered(jupyter, "GC731"))["kind"] == "kernels"
    response = await jupyter.fetch(f"api/kernels/{holder.kernel_id}", method="DELETE")
    assert response.code == 204
    after = findings(await examine(jupyter, other))
    assert "GC731" not in after and not set(after) - set(findings(before))


async def test_a_kernel_that_is_restarted_meanwhile_is_told(jupyter: Any, tmp_path: Path) -> None:
    reached, go = tmp_path / "reached", tmp_path / "go"
    # the doctor's import of torch waits until the kernel was killed
    waiting = tmp_path / "site"
    waiting.mkdir()
    (waiting / "torch.py").write_text(
        f"import pathlib, time\npathlib.Path({str(reached)!r}).touch()\n"
        f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)\n"
    )
    jupyter.add_kernel("k", [sys.executable, *IPYKERNEL], {"PYTHONPATH": str(waiting)})
    notebook = await open_notebook(jupyter, kernel="k")
    pid = notebook.pid
    examining = asyncio.create_task(examine(jupyter, notebook))
    await until(reached.exists)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: notebook.pid != pid)
    go.touch()
    report = await examining
    assert "GC701" in of_running(report)
    assert f"process {pid} ended meanwhile" in findings(report)["GC701"]["evidence"]


async def test_a_kernel_that_has_died_is_told(jupyter: Any) -> None:
    notebook = await open_notebook(jupyter)
    notebook.manager.stop_restarter()
    process = notebook.manager.provisioner.process
    os.kill(process.pid, signal.SIGKILL)
    await until(lambda: process.poll() is not None)
    report = await examine(jupyter, notebook)
    assert "GC701" in of_running(report) and "GC704" not in of_running(report)
    assert report["facts"]["python"]["value"]["prefix"] == sys.prefix, "of what a new one would be"


async def test_a_kernel_beneath_the_program_that_started_it(jupyter: Any, tmp_path: Path) -> None:
    script = tmp_path / "start"
    script.write_text(f'#!/bin/sh\nexport OMP_NUM_THREADS=7\n{sys.executable} "$@"\n')
    script.chmod(0o755)
    jupyter.add_kernel("wrapped", [str(script), *IPYKERNEL])
    notebook = await open_notebook(jupyter, kernel="wrapped")
    report = await examine(jupyter, notebook)
    assert of_running(report) == set(), report["findings"]
    assert report["facts"]["running"]["value"]["pid"] != notebook.pid
    for each in (report, await examine(jupyter, kernel="wrapped")):
        assert variables(each)["OMP_NUM_THREADS"] == "7"
        assert each["facts"]["python"]["value"]["prefix"] == sys.prefix
        assert "GC207" not in findings(each)


async def test_a_kernel_of_another_machine_is_told(jupyter: Any, monkeypatch: Any) -> None:
    notebook = await open_notebook(jupyter)
    monkeypatch.setattr(notebook.manager.provisioner, "pid", None)
    report = await examine(jupyter, notebook)
    assert of_running(report) == {"GC702"}, report["findings"]
    assert report["facts"]["running"]["value"]["state"] == "elsewhere"


async def test_ids_that_are_none_are_refused(jupyter: Any) -> None:
    cases: list[tuple[dict[str, Any], int]] = [
        ({"kernel_id": "0" * 36}, 404),
        ({"kernel_id": "no-such-kernel"}, 404),
        ({"kernel_id": ""}, 400),
        ({"kernel_id": "../x"}, 400),
        ({"kernel_id": "x" * 201}, 400),
        ({"kernel_id": 7}, 400),
        ({"kernel_id": None}, 400),
        ({"kernel_id": "x", "kernel": "python3"}, 400),
    ]
    for body, status in cases:
        response = await jupyter.fetch(EXAMINATIONS, method="POST", body=body)
        assert response.code == status, body
        message = json.loads(response.body)["message"]
        assert "kernel" in message and "Traceback" not in message
        path = f"{EXAMINATIONS}?locale=zh_CN"
        chinese = json.loads((await jupyter.fetch(path, method="POST", body=body)).body)["message"]
        assert "内核" in chinese or "不要" in chinese


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"status": "error", "ename": "KeyboardInterrupt"},
        {"status": "ok"},
        {"status": "ok", "user_expressions": {"asked": {"status": "error", "ename": "NameError"}}},
        *(
            {
                "status": "ok",
                "user_expressions": {"asked": {"status": "ok", "data": {"text/plain": text}}},
            }
            for text in (
                "",
                "x",
                "'x'",
                "'[1]'",
                """'{"error": "TypeError"}'""",
                "[" * 5000,
                repr("{" * 70000),
                7,
                None,
                "b'{}'x",
            )
        ),
    ],
)
def test_an_answer_that_is_none_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the kernel"):
        running_kernels.read(content)


async def test_a_kernel_that_answers_nonsense_is_told(jupyter: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(running_kernels, "expression", lambda until: "1/0")
    notebook = await open_notebook(jupyter)
    report = await examine(jupyter, notebook)
    assert of_running(report) == {"GC704"}
    assert "ZeroDivisionError" in findings(report)["GC704"]["evidence"][0]
