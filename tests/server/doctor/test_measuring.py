"""The performance examination over REST, on a torch and a driver that are told how fast to be.

torch is tests/fakes/torch_stand_in, NVML the practice library; processes, time limits, files and
the server are real. With a real torch: tests/engine/test_performance.py.
"""
# ruff: noqa: ASYNC109, ASYNC110, ASYNC220, ASYNC221, ASYNC240 - nobody waits beside these tests

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from server_ext.doctor.kernel import Kernel
from server_ext.doctor.performance import measure as measuring
from server_ext.doctor.performance.handlers import _MEASURER
from server_ext.doctor.performance.measure import Limits, Measured, measure
from server_ext.doctor.performance.measurer import Measurer, result_file

TESTS = Path(__file__).resolve().parents[2]
ROOT = TESTS.parent
STAND_IN = TESTS / "fakes" / "torch_stand_in"
PERFORMANCE = "gpucamp/doctor/performance"
IPYKERNEL = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
SHORT = Limits(probe=20.0, rank=3.0, grace=0.3)

GPU: dict[str, Any] = {
    "name": "NVIDIA A100-SXM4-40GB",
    "tflops": {"fp16": 250, "bf16": 250, "tf32": 120, "fp32": 18},
    "memory": 1.3e12,
    "link": 24e9,
}


def uuid(index: int) -> str:
    return f"00000000-0000-4000-8000-{index:012d}"


@pytest.fixture(scope="module")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the practice libnvidia-ml.so.1."""
    build = tmp_path_factory.mktemp("nvml")
    subprocess.run(
        ["make", "-C", str(ROOT / "images" / "practice"), f"BUILD={build}"],
        check=True,
        capture_output=True,
        timeout=100,
    )
    return build / "lib"


@pytest.fixture
def measured(jupyter: Any) -> Any:
    """Measures a kernel whose torch is as told; gives the events and the result."""
    limits(jupyter, SHORT)

    async def run(
        torch: dict[str, Any] | None, name: str = "told", **env: str
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        add_kernel(jupyter, name, torch, **env)
        found = await jupyter.stream(PERFORMANCE, method="POST", body={"kernel": name})
        events = [event for _, event in found]
        assert events[0]["event"] == "started" and events[-1]["event"] == "finished", events
        text = json.dumps(events)
        assert "Traceback" not in json.dumps(events[-1]["result"]["findings"]), text
        assert ranks_folders() == []
        return events, events[-1]["result"]

    return run


def limits(jupyter: Any, limits: Limits) -> None:
    settings = jupyter.app.web_app.settings
    doctor = settings["gpucamp_doctor_settings"]
    settings[_MEASURER] = Measurer(doctor, logging.getLogger("test"), limits)


def add_kernel(jupyter: Any, name: str, torch: dict[str, Any] | None, **env: str) -> None:
    told = {"PYTHONPATH": str(STAND_IN), "STAND_IN_TORCH": json.dumps(torch)} if torch else {}
    jupyter.add_kernel(name, [sys.executable, *IPYKERNEL], {**told, **env})


@pytest.fixture(autouse=True)
def place_to_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this test alone: others run beside it, and so do their ranks."""
    (tmp_path / "meet").mkdir()
    monkeypatch.setattr(measuring, "_PLACES", (str(tmp_path / "meet"),))


def ranks_folders() -> list[Path]:
    return [found for place in measuring._PLACES for found in Path(place).glob("gpucamp-ranks-*")]


def codes(result: dict[str, Any]) -> set[str]:
    return {finding["code"] for finding in result["findings"]}


def skips(result: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["reason"] for item in result["skipped"]}


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


async def all_gone(pids: list[int]) -> None:
    for _ in range(500):
        if all(gone(pid) for pid in pids):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"still there: {[pid for pid in pids if not gone(pid)]}")


async def written(path: Path) -> int:
    """The number that a process writes into a file, as soon as it has."""
    for _ in range(1000):
        if path.exists() and path.read_text():
            return int(path.read_text())
        await asyncio.sleep(0.02)
    raise AssertionError(f"{path} was never written")


# -- cards


async def test_a_sound_card_has_figures_and_no_finding(measured: Any, jupyter: Any) -> None:
    events, result = await measured({"cuda": "12.8", "gpus": [GPU, GPU]})
    assert codes(result) == set() and result["verdict"] == "healthy"
    names = [figure["name"] for figure in result["figures"]]
    assert len(names) == 2 * 8 + 2 + 2
    fp16 = result["figures"][names.index("matmul-fp16")]
    assert fp16["value"] == pytest.approx(250e12, rel=0.01)
    assert fp16["expected"] == pytest.approx(312e12 * 0.6)
    assert fp16["unit"] == "FLOPS" and fp16["device"] == 0 and fp16["size"] == 8192
    assert {"all-reduce-nccl", "all-reduce-gloo"} <= set(names)
    assert result["skipped"] == [] and result["torch"] == "2.9.1+cu128"
    # told as it came, and how far it is
    kinds = [event["event"] for event in events]
    assert kinds.count("figure") == len(names)
    assert kinds.index("figure") < len(kinds) - 1 - kinds[::-1].index("step")
    steps = [event for event in events if event["event"] == "step"]
    done = [step["done"] for step in steps]
    assert done == sorted(done) and done[0] == 1
    assert steps[-1]["name"] == "all-reduce-nccl" and done[-1] == steps[-1]["steps"]
    assert steps[-1]["title"]
    kept = await jupyter.json(PERFORMANCE)
    assert kept["figures"] == result["figures"]


async def test_sick_cards_are_told_apart(measured: Any, nvml: Path, tmp_path: Path) -> None:
    slow = {**GPU, "tflops": {**GPU["tflops"], "fp16": 60}}
    cards = {
        "GC602": (GPU, {"clocks_event_reasons": 64 + 4}),
        "GC603": (GPU, {"clocks_event_reasons": 128}),
        "GC604": ({**GPU, "link": 5e9}, {"pcie": {"width": 4}}),
        "GC605": ({**GPU, "link": 5e9}, {}),
        "GC601": (slow, {"clocks_event_reasons": 4}),
    }
    told = [{**card, "uuid": uuid(index)} for index, (card, _) in enumerate(cards.values())]
    practice = [
        {"uuid": f"GPU-{uuid(index)}", "name": GPU["name"], **said}
        for index, (_, said) in enumerate(cards.values())
    ]
    file = tmp_path / "practice.json"
    file.write_text(json.dumps({"devices": practice}))
    env = {"LD_LIBRARY_PATH": str(nvml), "GPUCAMP_PRACTICE_FILE": str(file)}
    _, result = await measured({"cuda": "12.8", "gpus": told}, **env)
    assert codes(result) == set(cards), result["findings"]
    found = {finding["code"]: finding for finding in result["findings"]}
    for index, code in enumerate(cards):
        text = " ".join([found[code]["title"], *found[code]["evidence"]])
        assert f"cuda:{index}" in text, found[code]
        assert not any(f"cuda:{other}" in text for other in range(5) if other != index)
    assert "gen 4 ×4" in found["GC604"]["title"] and "gen 4 ×16" in found["GC604"]["title"]
    assert "thermal slowdown by the hardware" in " ".join(found["GC602"]["evidence"])
    assert result["verdict"] == "degraded"


async def test_a_card_in_use_is_left_alone_and_one_that_fails_is_told(measured: Any) -> None:
    """GC609 and GC611."""
    used = {**GPU, "tflops": {name: 20 for name in GPU["tflops"]}, "free": 10 * 2**30}
    lost = {**GPU, "fails_at": ["copy-d2d", "CUDA error: unspecified launch failure"]}
    _, result = await measured({"cuda": "12.8", "gpus": [used, lost, GPU]})
    assert codes(result) == {"GC609", "GC611"}
    sizes = {figure["size"] for figure in result["figures"] if figure["name"] == "matmul-fp32"}
    assert min(sizes) < 8192
    by_device = [figure["device"] for figure in result["figures"]]
    assert by_device.count(1) == 4 and by_device.count(2) == 0
    assert skips(result)["all-reduce-nccl"] == "not-measured"
    assert result["facts"]["performance"]["value"]["devices"][0]["light"] is True
    # the CPU is measured, and so are two processes
    assert {"cpu-copy", "all-reduce-gloo"} <= {figure["name"] for figure in result["figures"]}


async def test_a_full_card_is_measured_with_less_or_not_at_all(measured: Any) -> None:
    half = {**GPU, "most": 100 * 2**20}
    full = {**GPU, "free": 2**20, "total": 2**30}
    _, result = await measured({"cuda": "12.8", "gpus": [half, full]})
    assert codes(result) <= {"GC609"}
    assert skips(result)["copies"] == "gpu-memory"
    reasons = {item["name"]: item["reason"] for item in result["skipped"] if item["device"] == 1}
    assert reasons["matmul-fp16"] == "gpu-memory" and reasons["copy-d2d"] == "gpu-memory"


async def test_an_old_card_has_no_bf16(measured: Any) -> None:
    old = {**GPU, "name": "Tesla T4", "capability": [7, 5], "memory": 3e11, "link": 12e9}
    old["tflops"] = {"fp16": 40, "fp32": 6}
    _, result = await measured({"cuda": "12.8", "gpus": [old]})
    assert codes(result) == set()
    assert skips(result) == {
        "matmul-bf16": "capability",
        "matmul-tf32": "capability",
        "all-reduce-nccl": "one-gpu",
    }


# -- ranks


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        ("nccl p2p", "GC606", "NCCL WARN waiting"),
        ("nccl error unhandled system error", "GC607", "a system call failed under NCCL"),
        ("part", "GC608", ""),
        ("hang", "GC608", "the ranks did not come to an end"),
        ("crash", "GC608", "a rank crashed"),
        ("wrong", "GC608", "the sum was wrong"),
        ("missing", "GC608", "this torch has no gloo"),
        ("error Connection reset by peer", "GC608", "the connection broke"),
    ],
)
async def test_ranks_that_cannot_meet_are_told_and_ended(
    measured: Any, tmp_path: Path, how: str, code: str, words: str
) -> None:
    gpus = {"cuda": "12.8", "gpus": [GPU, GPU]} if how.startswith("nccl") else {"cuda": None}
    marks = tmp_path / "rank"
    _, result = await measured({**gpus, "rank": how}, STAND_IN_RANKS=str(marks))
    assert codes(result) == {code}, result["findings"]
    assert words in " ".join(result["findings"][0]["evidence"])
    pids = [int(path.read_text()) for path in tmp_path.glob("rank.*")]
    assert pids or how == "missing"
    await all_gone(pids)
    name = "all-reduce-nccl" if how.startswith("nccl") else "all-reduce-gloo"
    assert name not in {figure["name"] for figure in result["figures"]}
    if code == "GC606":  # what it says to type, typed
        word, _, setting = result["findings"][0]["command"].partition(" ")
        variable, _, value = setting.partition("=")
        assert (word, variable) == ("export", "NCCL_P2P_DISABLE")
        _, result = await measured(
            {**gpus, "rank": how}, "typed", STAND_IN_RANKS=str(marks), **{variable: value}
        )
        assert codes(result) == set(), result["findings"]
        assert name in {figure["name"] for figure in result["figures"]}


async def test_ranks_without_room_to_meet(measured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server_ext.doctor.performance.measure._PLACES", ("/proc", "/nowhere"))
    _, result = await measured({"cuda": None})
    assert codes(result) == {"GC608"}
    assert "no room to meet" in result["findings"][0]["evidence"][0]


async def test_what_a_killed_measurement_left_is_swept(measured: Any) -> None:
    left = Path(measuring._PLACES[0]) / "gpucamp-ranks-left"
    (left / "inside").mkdir(parents=True)
    os.utime(left, (1, 1))
    await measured({"cuda": None})  # asserts that there is no such folder
    assert not left.exists()


# -- servers without a GPU, and kernels that misbehave


async def test_without_torch_it_says_so(measured: Any) -> None:
    _, result = await measured(None)
    assert codes(result) == set() and result["figures"] == []
    assert skips(result) == {"all": "torch-missing", "all-reduce-gloo": "not-measured"}
    assert "No module named 'torch'" in result["skipped"][0]["text"]


@pytest.mark.parametrize(
    ("torch", "env", "reason"),
    [
        ({"cuda": None}, {}, "cpu-torch"),
        ({"cuda": "12.8", "gpus": []}, {"GPUCAMP_SIMULATED": "1"}, "practice"),
        ({"cuda": "12.8", "gpus": []}, {}, "no-gpu"),
    ],
)
async def test_without_a_gpu_the_cpu_is_measured_and_the_rest_is_said(
    measured: Any, torch: dict[str, Any], env: dict[str, str], reason: str
) -> None:
    _, result = await measured(torch, **env)
    assert codes(result) == set() and skips(result)["gpu"] == reason
    names = [figure["name"] for figure in result["figures"]]
    assert names == ["cpu-matmul-fp32", "cpu-copy", "all-reduce-gloo"]
    assert all(figure["expected"] is None for figure in result["figures"])


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("hang", "no end after"),
        ("flood", "no end after"),
        ("exit 0", "without an answer"),
        ("exit 3", "status 3"),
        ("kill 9", "memory runs out"),
        ("kill 11", "status -11"),
    ],
)
async def test_a_kernel_that_misbehaves_is_told(
    measured: Any, jupyter: Any, how: str, words: str
) -> None:
    """GC612"""
    limits(jupyter, Limits(probe=2.0, rank=2.0, grace=0.2))
    _, result = await measured({"import": how})
    assert codes(result) == {"GC612"} and result["verdict"] == "advice"
    evidence = result["findings"][0]["evidence"][0]
    assert words in evidence and "during: torch" in evidence


async def test_garbage_is_no_result(measured: Any) -> None:
    _, result = await measured({"import": "garbage"})
    assert codes(result) == set()


async def test_a_server_that_is_short_of_memory(
    measured: Any, jupyter: Any, tmp_path: Path
) -> None:
    pressure = "some avg10=44.10 avg60=9.00 avg300=1.00 total=1\nfull avg10=20.00 avg60=1 total=1\n"
    (tmp_path / "memory.pressure").write_text(pressure)
    limits(jupyter, Limits(probe=20.0, rank=4.0, cgroup=str(tmp_path)))
    _, result = await measured({"cuda": None})
    assert codes(result) == {"GC613"}
    (tmp_path / "memory.max").write_text(f"{2**30}\n")
    (tmp_path / "memory.current").write_text(f"{2**30 - 2**28}\n")
    _, result = await measured({"cuda": None}, "again")
    assert skips(result)["all"] == "memory" and result["figures"] == []
    assert "256 MiB" in result["skipped"][0]["text"]
    (tmp_path / "memory.current").write_text(f"{2**30 - 520 * 2**20}\n")
    _, result = await measured({"cuda": "12.8", "gpus": [GPU]}, "third")
    assert skips(result)["gpu"] == "memory"
    assert [figure["name"] for figure in result["figures"]][:1] == ["cpu-matmul-fp32"]


async def test_a_server_that_is_held_back(measured: Any, jupyter: Any, tmp_path: Path) -> None:
    stat = tmp_path / "cpu.stat"
    stat.write_text("nr_throttled 0\nthrottled_usec 0\n")
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    limits(jupyter, Limits(probe=20.0, rank=4.0, cgroup=str(tmp_path)))
    _, result = await measured({"cuda": None, "cpu_stat": str(stat)})
    assert codes(result) == {"GC610"} and result["verdict"] == "advice"
    assert result["findings"][0]["evidence"] == ["2 threads, CPU limit 1.0"]


# -- requests


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"kernel": "nowhere"}, 404, "no kernel nowhere"),
        ({"kernel": "shell"}, 400, "has no Python"),
        ({"kernel": ""}, 400, "kernel"),
        ({"kernel": ["a"]}, 400, "kernel"),
        ({"kernel": "x" * 999}, 400, "kernel"),
        ([], 400, "object"),
        ("{", 400, "JSON"),
    ],
)
async def test_what_cannot_be_measured_is_refused(
    jupyter: Any, body: Any, status: int, words: str
) -> None:
    jupyter.add_kernel("shell", ["/bin/sh", "-c", "true"])
    answer = await jupyter.fetch(PERFORMANCE, method="POST", body=body)
    assert answer.code == status
    assert words in json.loads(answer.body)["message"]
    assert (await jupyter.fetch(PERFORMANCE, token=None)).code == 403
    assert (await jupyter.fetch(PERFORMANCE, method="POST", body={}, token=None)).code == 403


async def test_nothing_was_measured_yet(jupyter: Any) -> None:
    answer = await jupyter.fetch(PERFORMANCE, headers={"Accept-Language": "zh-CN"})
    assert answer.code == 404 and not answer.body.isascii()


async def test_the_last_result_is_kept_and_told_in_the_readers_language(
    measured: Any, jupyter: Any
) -> None:
    lost = {**GPU, "fails_at": ["matmul-bf16", "CUDA error: unknown error"]}
    await measured({"cuda": "12.8", "gpus": [lost]})
    english = await jupyter.json(PERFORMANCE)
    chinese = await jupyter.json(PERFORMANCE + "?locale=zh_CN")
    assert english["figures"][0]["value"] == chinese["figures"][0]["value"]
    for kind, key in (("figures", "title"), ("skipped", "text"), ("findings", "title")):
        assert english[kind] and english[kind][0][key] != chinese[kind][0][key]
        assert not chinese[kind][0][key].isascii()
    kept = result_file(jupyter.app.web_app.settings["gpucamp_doctor_settings"])
    kept.write_text('{"findings": [], "figures": 7, "skipped": [3, {"reason": "new"}]}')
    answer = await jupyter.json(PERFORMANCE)
    assert answer["figures"] == [] and len(answer["skipped"]) == 2
    kept.write_text("{")
    assert (await jupyter.fetch(PERFORMANCE)).code == 404


async def start_hanging(jupyter: Any, mark: Path) -> asyncio.Task[Any]:
    """A measurement whose probe has a child, and hangs with it."""
    limits(jupyter, Limits(probe=60.0))
    add_kernel(jupyter, "hangs", {"import": f"child {mark}"})
    request = jupyter.fetch(PERFORMANCE, method="POST", body={"kernel": "hangs"})
    return asyncio.create_task(request)


async def test_two_at_once_would_measure_each_other(jupyter: Any, tmp_path: Path) -> None:
    task = await start_hanging(jupyter, tmp_path / "child")
    child = await written(tmp_path / "child")
    answer = await jupyter.fetch(PERFORMANCE, method="POST", body={"kernel": "hangs"})
    assert answer.code == 409 and "right now" in json.loads(answer.body)["message"]
    # a terminal is another process: it has only the file to know it by
    done = await asyncio.to_thread(in_terminal, jupyter, "--kernel", "hangs")
    assert done.returncode == 3 and "right now" in done.stderr, done
    await jupyter.app.web_app.settings[_MEASURER].stop()
    await all_gone([child])
    task.cancel()
    limits(jupyter, SHORT)
    add_kernel(jupyter, "good", {"cuda": None})
    events = await jupyter.stream(PERFORMANCE, method="POST", body={"kernel": "good"})
    assert events[-1][1]["event"] == "finished"


def in_terminal(jupyter: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`gpucamp-doctor --performance` as in a terminal of this server."""
    return subprocess.run(
        [sys.executable, "-m", "server_ext.doctor.command_line", "--performance", *arguments],
        env={**os.environ, "HOME": str(jupyter.home), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


async def test_in_a_terminal(jupyter: Any) -> None:
    lost = {**GPU, "fails_at": ["copy-d2d", "CUDA error: unknown error"]}
    slow = {**GPU, "tflops": {**GPU["tflops"], "fp16": 60}}
    add_kernel(jupyter, "told", {"cuda": "12.8", "gpus": [slow, lost]})
    add_kernel(jupyter, "cpu", {"cuda": None})
    done = await asyncio.to_thread(in_terminal, jupyter, "--kernel", "told")
    assert done.returncode == 1, done
    assert "! GC601" in done.stdout and "! GC611" in done.stdout and "→" in done.stdout
    assert "60.0 TFLOPS" in done.stdout and "32 percent of the expected" in done.stdout
    done = await asyncio.to_thread(in_terminal, jupyter, "--kernel", "cpu", "--json")
    assert done.returncode == 0, done
    assert {item["reason"] for item in json.loads(done.stdout)["skipped"]} == {
        "cpu-torch",
        "one-gpu",
    }
    done = await asyncio.to_thread(in_terminal, jupyter, "--kernel", "nowhere")
    assert done.returncode == 3 and "no kernel nowhere" in done.stderr


async def test_who_leaves_ends_it(jupyter: Any, tmp_path: Path) -> None:
    limits(jupyter, Limits(probe=60.0))
    add_kernel(jupyter, "hangs", {"import": f"child {tmp_path / 'child'}"})
    _, writer = await asyncio.open_connection("127.0.0.1", jupyter.port)
    body = b'{"kernel": "hangs"}'
    head = (
        f"POST /user/ada/{PERFORMANCE} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Authorization: token the-token-of-the-tests\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
    child = await written(tmp_path / "child")
    assert not gone(child)
    writer.close()
    await all_gone([child])
    limits_again = jupyter.app.web_app.settings[_MEASURER]
    for _ in range(200):
        if limits_again._task is None:
            break
        await asyncio.sleep(0.02)
    assert limits_again._task is None


@pytest.mark.parametrize("steps", [0, 1, 2, 5, 9])
async def test_it_can_be_left_at_any_event(steps: int, tmp_path: Path) -> None:
    """Also between the probe and the ranks, whose processes end with it."""
    told = {"cuda": None, "rank": "hang"}
    env = {**os.environ, "PYTHONPATH": str(STAND_IN), "STAND_IN_TORCH": json.dumps(told)}
    env["STAND_IN_RANKS"] = str(tmp_path / "rank")
    kernel = Kernel("k", (sys.executable,), env, {"found": True})
    seen = 0
    async with asyncio.timeout(30), aclosing(measure(kernel, SHORT)) as events:
        async for _ in events:
            if seen == steps:
                break
            seen += 1
    assert children_of_tests() == []
    assert ranks_folders() == []


async def test_it_can_be_cancelled_while_the_ranks_wait(tmp_path: Path) -> None:
    told = {"cuda": None, "rank": "hang"}
    env = {**os.environ, "PYTHONPATH": str(STAND_IN), "STAND_IN_TORCH": json.dumps(told)}
    env["STAND_IN_RANKS"] = str(tmp_path / "rank")
    kernel = Kernel("k", (sys.executable,), env, {"found": True})

    async def run() -> None:
        async with aclosing(measure(kernel, Limits(probe=20.0, rank=60.0))) as events:
            async for _ in events:
                pass

    task = asyncio.create_task(run())
    pids = [await written(tmp_path / f"rank.{rank}") for rank in range(2)]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await all_gone(pids)
    assert ranks_folders() == []


async def test_it_can_be_cancelled_while_the_place_to_meet_is_made(
    tmp_path: Path, monkeypatch: Any
) -> None:
    """That is done by a thread, which goes on."""
    env = {**os.environ, "PYTHONPATH": str(STAND_IN), "STAND_IN_TORCH": json.dumps({"cuda": None})}
    kernel = Kernel("k", (sys.executable,), env, {"found": True})
    begun = threading.Event()

    def slow() -> str:
        begun.set()
        time.sleep(0.3)
        return make_place()

    make_place = measuring._make_place
    monkeypatch.setattr(measuring, "_make_place", slow)

    async def run() -> None:
        async with aclosing(measure(kernel, SHORT)) as events:
            async for _ in events:
                pass

    task = asyncio.create_task(run())
    assert await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ranks_folders() == []
    await asyncio.sleep(0.5)
    assert ranks_folders() == []


def children_of_tests() -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and not gone(int(entry.name)):
            try:
                command = (entry / "cmdline").read_bytes()
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if b"doctor/probes/" in command and int(parent) == os.getpid():
                found.append(int(entry.name))
    return found


async def test_the_probe_does_not_outlive_a_server_that_is_killed(tmp_path: Path) -> None:
    """Nor do ranks: nobody is left to end them."""
    told = {"cuda": None, "rank": "hang"}
    program = (
        "import asyncio, json, os, sys\n"
        "from server_ext.doctor.kernel import Kernel\n"
        "from server_ext.doctor.performance import measure as measuring\n"
        "from server_ext.doctor.performance.measure import measure\n"
        f"measuring._PLACES = {measuring._PLACES!r}\n"
        "async def main():\n"
        "    kernel = Kernel('k', (sys.executable,), dict(os.environ), {'found': True})\n"
        "    async for _ in measure(kernel): pass\n"
        "asyncio.run(main())\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", program],
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{STAND_IN}",
            "STAND_IN_TORCH": json.dumps(told),
            "STAND_IN_RANKS": str(tmp_path / "rank"),
        },
    )
    try:
        pids = [await written(tmp_path / f"rank.{rank}") for rank in range(2)]
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
    await all_gone(pids)
    for folder in ranks_folders():  # nobody was left to delete it
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


async def test_a_full_disk_keeps_nobody_from_measuring(measured: Any, jupyter: Any) -> None:
    kept = result_file(jupyter.app.web_app.settings["gpucamp_doctor_settings"])
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.with_suffix(".lock").mkdir()
    kept.mkdir()
    (kept / "in the way").touch()
    _, result = await measured({"cuda": None})
    assert result["figures"]
    assert (await jupyter.fetch(PERFORMANCE)).code == 404


async def test_the_event_is_the_result(tmp_path: Path) -> None:
    """A kernel that is gone since it was found is told like one that does not start."""
    kernel = Kernel("k", (str(tmp_path / "python"),), {}, {"found": True})
    async with aclosing(measure(kernel, SHORT)) as events:
        *_, last = [event async for event in events]
    assert isinstance(last, Measured)
    assert [finding.code.code for finding in last.findings] == ["GC612"]
    assert "FileNotFoundError" in last.findings[0].evidence[0]
