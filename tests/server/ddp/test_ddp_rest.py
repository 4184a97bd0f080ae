"""Launch DDP over a real server's REST interface, with the stand-in agent as `torchrun`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from server_ext.ddp import process

pytestmark = pytest.mark.timeout(90)

STAND_IN = Path(__file__).parents[2] / "unit" / "ddp" / "stand_in_agent.py"
SCRIPT = "import torch.distributed as dist\ndist.init_process_group()\n"


@pytest.fixture
async def lab(jupyter: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server whose kernel environment has the stand-in agent, and a script in its work folder."""
    bin_folder = tmp_path / "environment" / "bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "python").symlink_to(sys.executable)
    torchrun = bin_folder / "torchrun"
    torchrun.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
    torchrun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    monkeypatch.setenv("GPUCAMP_DEVICES", "GPU-5ca1ab1e-0000-4000-8000-000000000000")
    monkeypatch.setenv("GPUCAMP_SIMULATED", "1")
    monkeypatch.setenv("GPUCAMP_CPU_LIMIT", "2")
    jupyter.app.kernel_spec_manager.kernel_dirs = [str(jupyter.data / "kernels")]
    jupyter.add_kernel("python3", [str(bin_folder / "python"), "-m", "ipykernel_launcher"])
    (jupyter.root / "project").mkdir()
    (jupyter.root / "project" / "train.py").write_text(SCRIPT)
    yield jupyter
    for run in (await jupyter.json("gpucamp/ddp/runs"))["runs"]:
        await jupyter.json(f"gpucamp/ddp/runs/{run['id']}/stop", method="POST")
        await jupyter.stream(f"gpucamp/ddp/runs/{run['id']}/log")
        assert not process.find_processes(run["id"])


def launch(*arguments: str, **changes: Any) -> dict[str, Any]:
    return {"script": "project/train.py", "arguments": list(arguments), "processes": 2, **changes}


async def start(lab: Any, *arguments: str, **changes: Any) -> dict[str, Any]:
    response = await lab.fetch(
        "gpucamp/ddp/runs", method="POST", body=launch(*arguments, **changes)
    )
    assert response.code == 201, response.body
    return json.loads(response.body)


async def test_defaults(lab: Any) -> None:
    assert await lab.json("gpucamp/ddp/defaults") == {
        "processes": 2,
        "max_processes": 2,
        "backend": "gloo",
        "devices": ["GPU-5ca1ab1e-0000-4000-8000-000000000000"],
        "simulated": True,
        "cpus": 2,
    }


async def test_what_is_planned_is_what_is_run_and_logged(lab: Any) -> None:
    plan = await lab.json("gpucamp/ddp/plan", method="POST", body=launch("seconds=0.5", "it's"))
    assert plan["command"].startswith("torchrun --standalone --local-addr 127.0.0.1 ")
    assert plan["working_directory"] == str(lab.root / "project")
    assert plan["defaults"] == {"processes": 2}
    assert [warning["code"] for warning in plan["warnings"]] == ["no-destroy"]
    assert not (lab.root / ".gpucamp").exists()  # a plan leaves nothing behind

    run = await start(lab, "seconds=0.5", "it's", id=plan["id"])
    assert (run["id"], run["command"]) == (plan["id"], plan["command"])
    events = [event for _, event in await lab.stream(f"gpucamp/ddp/runs/{run['id']}/log")]
    assert sorted((e["rank"], e["text"]) for e in events[:-1] if "ready" in e["text"])[0][0] == 0
    texts = "".join(event["text"] for event in events[:-1])
    assert texts.count("loss=0.5") == 2 and "[default" not in texts
    assert events[-1]["event"] == "end"
    ended = events[-1]["run"]
    assert (ended["state"], ended["exit_code"], ended["diagnosis"]) == ("succeeded", 0, None)
    assert ended["started_at"] < ended["ended_at"] and ended["ended_at"].endswith("Z")
    assert await lab.json(f"gpucamp/ddp/runs/{run['id']}") == ended
    assert (await lab.json("gpucamp/ddp/runs"))["runs"] == [ended]

    again = await lab.fetch("gpucamp/ddp/runs", method="POST", body=launch(id=plan["id"]))
    assert again.code == 409  # a request that is sent twice starts one run


async def test_the_log_comes_while_it_is_written_and_goes_on_where_it_was_left(lab: Any) -> None:
    run = await start(lab, "seconds=2")
    path = f"gpucamp/ddp/runs/{run['id']}/log"
    events = await lab.stream(path)
    ready = [at for at, event in events if "ready" in event.get("text", "")]
    assert ready and max(ready) < events[-1][0] - 1.0
    whole = [event for _, event in events]
    for index, event in enumerate(whole[:-1]):
        rest = [found for _, found in await lab.stream(f"{path}?offset={event['offset']}")]
        assert "".join(e.get("text", "") for e in rest) == "".join(
            e.get("text", "") for e in whole[index + 1 :]
        )


async def test_stop(lab: Any) -> None:
    run = await start(lab, "seconds=60")
    following = asyncio.create_task(lab.stream(f"gpucamp/ddp/runs/{run['id']}/log"))
    response = await lab.fetch(f"gpucamp/ddp/runs/{run['id']}/stop", method="POST")
    assert response.code == 202
    end = (await following)[-1][1]
    assert (end["event"], end["run"]["state"]) == ("end", "stopped")
    assert not process.find_processes(run["id"])


async def test_a_closed_tab_does_not_end_a_run(lab: Any) -> None:
    run = await start(lab, "seconds=3")
    reading = asyncio.create_task(lab.stream(f"gpucamp/ddp/runs/{run['id']}/log"))
    await asyncio.sleep(0.5)
    reading.cancel()
    events = await lab.stream(f"gpucamp/ddp/runs/{run['id']}/log")
    assert events[-1][1]["run"]["state"] == "succeeded"


async def test_a_failure_is_explained_in_the_readers_language(lab: Any) -> None:
    run = await start(lab, "exit=3")
    end = (await lab.stream(f"gpucamp/ddp/runs/{run['id']}/log"))[-1][1]["run"]
    assert (end["state"], end["exit_code"]) == ("failed", 1)
    assert end["diagnosis"]["cause"] and end["diagnosis"]["fix"]
    assert set(end["diagnosis"]) == {"code", "cause", "fix", "rank", "evidence"}


async def test_a_reader_who_does_not_read_costs_no_memory_and_no_time(lab: Any) -> None:
    """30 MB wait for a reader who takes nothing; the server answers others meanwhile."""
    run = await start(lab, "megabytes=30", "seconds=5")
    _reader, writer = await asyncio.open_connection("127.0.0.1", lab.port)
    writer.write(
        f"GET /user/ada/gpucamp/ddp/runs/{run['id']}/log HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: token the-token-of-the-tests\r\n\r\n".encode()
    )
    await writer.drain()
    await asyncio.sleep(2)
    before = _resident()
    for _ in range(20):
        asked = time.monotonic()
        await lab.json("gpucamp/ddp/runs")
        assert time.monotonic() - asked < 2
        await asyncio.sleep(0.05)
    assert _resident() - before < 20 * 2**20
    writer.close()
    await writer.wait_closed()


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    "body",
    [
        {},
        b"not json",
        [],
        launch(processes=0),
        launch(processes=3),
        launch(processes=10**9),
        launch(processes=1.5),
        launch(processes=True),
        launch(processes="2"),
        b'{"script": "project/train.py", "processes": NaN}',
        launch(script="../../etc/passwd"),
        launch(script="/etc/passwd"),
        launch(script="missing.py"),
        launch(script="project"),
        launch(working_directory=".."),
        launch(arguments="--lr 1"),
        launch(surprise=1),
    ],
    ids=repr,
)
@pytest.mark.parametrize("path", ["plan", "runs"])
async def test_refused_with_what_is_allowed(lab: Any, path: str, body: Any) -> None:
    response = await lab.fetch(f"gpucamp/ddp/{path}", method="POST", body=body)
    answer = json.loads(response.body)
    assert (response.code, answer["status"]) == (400, 400)
    assert len(answer["message"]) > 10
    assert (await lab.json("gpucamp/ddp/runs"))["runs"] == []


@pytest.mark.parametrize("offset", ["-1", "1.5", "x", "", "9" * 30, "0x10", "١"])
async def test_offsets_refused(lab: Any, offset: str) -> None:
    run = await start(lab)
    response = await lab.fetch(f"gpucamp/ddp/runs/{run['id']}/log?offset={quote(offset)}")
    assert response.code == 400


@pytest.mark.parametrize("run_id", ["20260101-000000-000000", "..", "%2e%2e", "a%2f..%2fb", "x"])
async def test_unknown_runs_are_404(lab: Any, run_id: str) -> None:
    for path, method in (("", "GET"), ("/log", "GET"), ("/stop", "POST")):
        response = await lab.fetch(f"gpucamp/ddp/runs/{run_id}{path}", method=method)
        assert response.code in (403, 404), (run_id, path)


async def test_records_that_are_damaged_are_passed_over(lab: Any) -> None:
    run = await start(lab)
    await lab.stream(f"gpucamp/ddp/runs/{run['id']}/log")
    folder = lab.root / ".gpucamp" / "runs"
    good = (folder / run["id"] / "run.json").read_text()
    damaged = {
        "20260101-000000-000001": "",
        "20260101-000000-000002": "{",
        "20260101-000000-000003": "[]",
        "20260101-000000-000004": good,  # another run's id
        "20260101-000000-000005": good.replace(run["id"], "20260101-000000-000005").replace(
            '"started_at"', '"started_at": NaN, "x"'
        ),
        "20260101-000000-000006": "[" * 100000,
    }
    for name, text in damaged.items():
        (folder / name).mkdir()
        (folder / name / "run.json").write_text(text)
    (folder / "20260101-000000-000007").mkdir()
    (folder / "stray").write_text("x")
    runs = (await lab.json("gpucamp/ddp/runs"))["runs"]
    assert [found["id"] for found in runs] == [run["id"]]


async def test_polling_is_no_activity(lab: Any) -> None:
    await lab.json("gpucamp/ddp/runs")
    await lab.json("gpucamp/ddp/defaults")
    assert lab.app.web_app.settings.get("api_last_activity") is None


async def test_what_is_asked_for_reaches_torchrun(lab: Any) -> None:
    asked = {"environment": {"SEED": "a b"}, "max_restarts": 1, "local_ranks_filter": [0]}
    plan = await lab.json("gpucamp/ddp/plan", method="POST", body=launch(**asked))
    assert plan["env"]["SEED"] == "a b" and plan["hidden_ranks"] == [1]
    assert "--max-restarts 1 --local-ranks-filter 0 " in plan["command"]
    run = await start(lab, **asked)
    assert (run["environment"], run["max_restarts"]) == ({"SEED": "a b"}, 1)
    for refused in (
        {"environment": {"RANK": "0"}},
        {"environment": {"PET_NPROC_PER_NODE": "64"}},
        {"max_restarts": 99},
        {"local_ranks_filter": [2]},
        {"module": "train"},
    ):
        response = await lab.fetch("gpucamp/ddp/runs", method="POST", body=launch(**refused))
        assert response.code == 400 and json.loads(response.body)["message"]


async def test_a_module(lab: Any) -> None:
    body = {"module": "train", "working_directory": "project", "processes": 1}
    plan = await lab.json("gpucamp/ddp/plan", method="POST", body=body)
    assert plan["command"].endswith("--module train")
    assert plan["working_directory"].endswith("/project")
    assert [one["code"] for one in plan["warnings"]] == ["no-destroy"]


async def test_a_notebook_becomes_a_script(lab: Any) -> None:
    def book(*sources: str) -> str:
        return json.dumps({"cells": [{"cell_type": "code", "source": one} for one in sources]})

    async def export(name: object = "project/book.ipynb") -> Any:
        return await lab.fetch("gpucamp/ddp/notebook", method="POST", body={"notebook": name})

    file = lab.root / "project" / "book.ipynb"
    file.write_text(book(SCRIPT, "!ls", "!wget x"))
    made = json.loads((await export()).body)
    assert made["script"] is None and made["written"] is False
    assert [(one["cell"], one["line"], one["code"]) for one in made["obstacles"]] == [
        (3, 1, "!wget x")
    ]
    file.write_text(book(SCRIPT, "!ls"))
    made = json.loads((await export()).body)
    assert (made["script"], made["written"], made["obstacles"]) == ("project/book.py", True, [])
    assert [one["code"] for one in made["left_out"]] == ["!ls"]
    plan = await lab.json("gpucamp/ddp/plan", method="POST", body=launch(script=made["script"]))
    assert plan["command"].endswith("/project/book.py")
    for name in ("../x.ipynb", "missing.ipynb", "project/train.py", 7, None):
        response = await export(name)
        assert response.code == 400 and json.loads(response.body)["message"]


async def test_a_proposal_is_shown_and_then_written(lab: Any) -> None:
    plain = STAND_IN.parent / "plain" / "functions.py"
    (lab.root / "project" / "t.py").write_text(plain.read_text())

    async def ask(**body: object) -> Any:
        return await lab.fetch("gpucamp/ddp/proposal", method="POST", body=body)

    made = json.loads((await ask(script="project/t.py")).body)
    assert made["diff"].startswith("--- t.py") and made["reasons"] == []
    assert made["changes"] and made["remarks"]
    assert not (lab.root / "project" / "t_ddp.py").exists()
    response = await ask(script="project/t.py", digest=made["digest"])
    assert (response.code, json.loads(response.body)) == (201, {"script": "project/t_ddp.py"})
    assert (await ask(script="project/t.py", digest="x")).code == 409
    none = json.loads((await ask(script="project/train.py")).body)
    assert none["digest"] is None and none["diff"] == "" and none["reasons"][0]["message"]
    for body in ({}, {"script": 7}, {"script": "../x.py"}, {"script": "a", "digest": 7}):
        assert (await ask(**body)).code == 400


async def test_the_numbers_of_a_run(lab: Any) -> None:
    run = await start(lab)
    await lab.stream(f"gpucamp/ddp/runs/{run['id']}/log")
    answer = await lab.json(f"gpucamp/ddp/runs/{run['id']}/metrics")
    assert answer["complete"] is True
    assert [(one["name"], one["last"], one["rank"]) for one in answer["series"]] == [
        ("loss", 0.5, 0)
    ]
    missing = await lab.fetch("gpucamp/ddp/runs/20260131-120000-1a2b3c/metrics")
    assert missing.code == 404


async def test_the_usage_of_a_run(lab: Any) -> None:
    run = await start(lab, "seconds=2", "--seed", "3")
    assert run["seed"] == {"value": "3", "source": "arguments"}
    path = f"gpucamp/ddp/runs/{run['id']}/usage"
    deadline = time.monotonic() + 20
    while len((told := await lab.json(path))["ranks"]) < 2 or len(told["times"]) < 2:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    assert {rank["state"] for rank in told["ranks"]} <= {"running", "waiting"}
    assert told["elapsed_seconds"] > 0 and told["throughput"] is None
    await lab.stream(f"gpucamp/ddp/runs/{run['id']}/log")
    told = await lab.json(path)
    assert [(r["rank"], r["state"], r["exit_code"]) for r in told["ranks"]] == [
        (0, "ended", 0),
        (1, "ended", 0),
    ]
    assert {(one["kind"], one["of"]) for one in told["series"]} >= {("memory", 0), ("memory", 1)}
    assert (await lab.fetch(path.replace(run["id"], "20260131-120000-1a2b3c"))).code == 404
    assert (await lab.fetch(path.replace(run["id"], ".."))).code == 404
    assert (await lab.fetch(path, token=None)).code in (302, 403)


async def test_the_whole_log_as_a_file(lab: Any) -> None:
    run = await start(lab, "megabytes=3")
    await lab.stream(f"gpucamp/ddp/runs/{run['id']}/log")
    response = await lab.fetch(f"gpucamp/ddp/runs/{run['id']}/log/file")
    kept = (lab.root / ".gpucamp" / "runs" / run["id"] / "run.log").read_bytes()
    assert response.body == kept and len(kept) > 2_900_000
    assert response.headers["Content-Disposition"] == f'attachment; filename="{run["id"]}.log"'
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert (await lab.fetch("gpucamp/ddp/runs/20260131-120000-1a2b3c/log/file")).code == 404


async def test_kernels_and_what_they_hold(lab: Any) -> None:
    answer = await lab.json("gpucamp/ddp/kernels")
    assert (answer["known"], answer["kernels"], answer["much"]) == (True, [], False)
    lab.add_kernel("plain", [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"])
    session = await lab.json(
        "api/sessions",
        method="POST",
        body={
            "path": "project/a.ipynb",
            "type": "notebook",
            "name": "",
            "kernel": {"name": "plain"},
        },
    )
    kernel_id = session["kernel"]["id"]
    (row,) = (await lab.json("gpucamp/ddp/kernels"))["kernels"]
    assert (row["id"], row["name"], row["label"]) == (kernel_id, "plain", "project/a.ipynb")
    assert row["memory_bytes"] > 2**20 and row["gpu_bytes"] == 0 and not row["uses_gpu"]
    assert (await lab.fetch(f"api/sessions/{session['id']}", method="DELETE")).code == 204
    assert (await lab.json("gpucamp/ddp/kernels"))["kernels"] == []
    assert (await lab.fetch("gpucamp/ddp/kernels", token=None)).code in (401, 403)
