"""The doctor over REST, against real processes: examinations, joining, leaving, the kept report,
pages.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import stat
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from server_ext.doctor import startup
from server_ext.doctor.handlers import SETTINGS
from server_ext.doctor.settings import Limits

IPYKERNEL = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]


def script(path: Path, text: str) -> str:
    """An executable that stands in for a kernel's Python."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


async def examine(jupyter: Any, kernel: str, **more: Any) -> list[tuple[float, dict[str, Any]]]:
    body = {"kernel": kernel, **more}
    return await jupyter.stream("gpucamp/doctor/examinations", method="POST", body=body)


def report_of(events: list[tuple[float, dict[str, Any]]]) -> dict[str, Any]:
    assert events[-1][1]["event"] == "finished"
    return events[-1][1]["report"]


def codes(report: dict[str, Any]) -> set[str]:
    return {finding["code"] for finding in report["findings"]}


async def test_an_examination_from_start_to_report(jupyter: Any) -> None:
    jupyter.add_kernel("good", [sys.executable, *IPYKERNEL])
    events = await examine(jupyter, "good")
    seconds, first = events[0]
    assert seconds < events[-1][0] / 2, "it comes at once, not with the rest"
    named = {"kernel": "good", "kernel_id": ""}
    assert first == {"event": "started", **named, "checks": first["checks"]}
    assert first["checks"] >= 12
    report = report_of(events)
    kinds = [event["event"] for _, event in events]
    assert kinds.count("started") == kinds.count("finished") == 1
    told = [event["finding"] for _, event in events if event["event"] == "finding"]
    assert sorted(f["code"] for f in told) == sorted(f["code"] for f in report["findings"])
    assert len(codes(report)) == len(report["findings"])
    for finding in report["findings"]:
        assert finding["severity"] in {"blocker", "degraded", "advice"}
        assert finding["who"] in {"you", "instructor"}
        assert finding["title"] and finding["fix"] and "{" not in finding["title"]
        assert finding["docs_url"] == f"/user/ada/gpucamp/doctor/findings/{finding['code']}"
    assert report["kernel"] == "good"
    assert len(report["checks_passed"]) + len(report["checks_skipped"]) <= first["checks"]
    assert report["facts"]["python"]["value"]["prefix"] == sys.prefix

    kept = await jupyter.json("gpucamp/doctor/report")
    assert kept == report
    file = jupyter.root / ".gpucamp" / "doctor-report.json"
    assert [p.name for p in file.parent.iterdir()] == [file.name]


async def test_no_secret_gets_into_a_report_or_a_probe(
    jupyter: Any, monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "hush-hush")
    monkeypatch.setenv("MY_SETTING", "of-no-concern")
    seen = tmp_path / "seen"
    python = script(tmp_path / "bin" / "python", f'env > {seen}; exec {sys.executable} "$@"\n')
    jupyter.add_kernel("spy", [python, *IPYKERNEL], {"WANDB_API_KEY": "hush-hush"})
    report = report_of(await examine(jupyter, "spy"))
    assert "hush-hush" not in seen.read_text()
    assert "MY_SETTING" in seen.read_text()
    text = json.dumps(report)
    assert "hush-hush" not in text and "of-no-concern" not in text


@pytest.mark.parametrize("body", [{"kernel": 3}, {"kernel": ""}, {"kernel": "x" * 201}, [], "{"])
async def test_bad_requests_are_refused(jupyter: Any, body: Any) -> None:
    response = await jupyter.fetch("gpucamp/doctor/examinations", method="POST", body=body)
    assert response.code == 400


async def test_an_unknown_kernel_is_a_finding(jupyter: Any) -> None:
    jupyter.add_kernel("good", [sys.executable, *IPYKERNEL])
    report = report_of(await examine(jupyter, "../../etc/passwd"))
    (finding,) = [f for f in report["findings"] if f["code"] == "GC201"]
    assert "good" in finding["fix"]
    assert report["verdict"] == "blocked"


async def test_a_broken_kernel_spec_is_a_finding(jupyter: Any) -> None:
    folder = jupyter.data / "kernels" / "broken"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text("{ not json")
    report = report_of(await examine(jupyter, "broken"))
    assert "GC201" in codes(report)
    assert "traceback" not in json.dumps(report).lower()


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["/no/such/python"], "GC202"),
        (["sh", "-c", "true"], "GC207"),
        (["no-such-conda", "run", "python"], "GC235"),
    ],
)
async def test_a_kernel_without_a_python(jupyter: Any, argv: list[str], code: str) -> None:
    jupyter.add_kernel("k", [*argv, *IPYKERNEL])
    report = report_of(await examine(jupyter, "k"))
    assert code in codes(report)
    assert not codes(report) & {"GC203", "GC204", "GC312", "GC315", "GC317"}


async def test_a_dangling_python_link_is_told(jupyter: Any, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(tmp_path / "gone")
    jupyter.add_kernel("k", [str(tmp_path / "bin" / "python"), *IPYKERNEL])
    report = report_of(await examine(jupyter, "k"))
    (finding,) = [f for f in report["findings"] if f["code"] == "GC202"]
    assert "link" in finding["evidence"][0]


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("hangs", "sleep 600 & sleep 600", "timeout"),
        ("floods", "yes", "flood"),
        ("exits_at_once", "exit 3", "crashed"),
        ("says_nothing", "exit 0", "garbage"),
        ("prints_garbage", r"printf '\036gpucamp-probe [1,\n'", "garbage"),
        ("prints_a_list", r"printf '\036gpucamp-probe [1]\n'", "garbage"),
        ("crashes", "kill -SEGV $$", "crashed"),
    ],
)
async def test_a_python_that_misbehaves_is_a_finding(
    jupyter: Any, tmp_path: Path, quick: None, name: str, text: str, kind: str
) -> None:
    pids = tmp_path / "pids"
    python = script(tmp_path / "bin" / "python", f"echo $$ >> {pids}\n{text}\n")
    jupyter.add_kernel(name, [python, *IPYKERNEL])
    report = report_of(await examine(jupyter, name))
    assert "GC203" in codes(report), report["findings"]
    assert report["facts"]["python"]["failure"]["kind"] == kind
    # what a broken Python cannot tell is not reported as broken, too
    assert not codes(report) & {"GC204", "GC312", "GC315", "GC316", "GC317", "GC123", "GC139"}
    await gone(pids)


# what a probe's command line is, told apart by a stand-in for the kernel's Python
OF_PYTHON, OF_TORCH = '*"run_probe.py python "*', '*"run_probe.py imports torch"*'


async def test_torch_does_not_wait_for_the_kernels_python(jupyter: Any, tmp_path: Path) -> None:
    """The two run side by side: the first answers only once the second was started."""
    started = tmp_path / "started"
    text = (
        f'case "$*" in {OF_TORCH}) touch {started};;\n'
        f"{OF_PYTHON}) while [ ! -e {started} ]; do sleep 0.02; done;; esac\n"
        f'exec {sys.executable} "$@"\n'
    )
    jupyter.add_kernel("k", [script(tmp_path / "bin" / "python", text), *IPYKERNEL])
    report = report_of(await examine(jupyter, "k"))
    assert "failure" not in report["facts"]["python"]
    assert "GC203" not in codes(report)


async def test_what_torch_said_does_not_count_when_python_does_not_start(
    jupyter: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first answer may come before it is known that the kernel's Python does not start."""
    for name in startup.suspects(os.environ):  # else it is tried once more without them
        monkeypatch.delenv(name)
    pids, torch = tmp_path / "pids", tmp_path / "torch"
    # a process is ended once it answered; only then the other one fails
    text = (
        f"echo $$ >> {pids}\n"
        f'case "$*" in {OF_TORCH}) echo $$ > {torch}; exec {sys.executable} "$@";;\n'
        f"{OF_PYTHON}) while [ ! -s {torch} ]; do sleep 0.02; done\n"
        f"while kill -0 $(cat {torch}); do sleep 0.02; done; exit 3;; esac\n"
    )
    jupyter.add_kernel("k", [script(tmp_path / "bin" / "python", text), *IPYKERNEL])
    report = report_of(await examine(jupyter, "k"))
    assert report["facts"]["python"]["failure"]["kind"] == "crashed"
    for name in ("torch", "ipykernel", "packages"):
        assert report["facts"][name]["failure"]["kind"] == "not-started", name
    assert "GC203" in codes(report) and not codes(report) & {"GC312", "GC315", "GC316", "GC317"}
    assert len(pids.read_text().split()) == 2, "nothing more is tried"
    await gone(pids)


@pytest.fixture
def quick(jupyter: Any) -> None:
    """Short time limits for pythons that hang."""
    settings = jupyter.app.web_app.settings
    short = Limits(python=0.7, torch=2, ipykernel=2, packages=2)
    settings[SETTINGS] = dataclasses.replace(settings[SETTINGS], limits=short)


async def gone(pids: Path) -> None:
    """No process that wrote its id is left, and none of its group."""
    async with asyncio.timeout(5):
        while _any_group_alive(pids):  # noqa: ASYNC110 - nothing tells the end of another's child
            await asyncio.sleep(0.02)


def _any_group_alive(pids: Path) -> bool:
    return any(_group_alive(int(pid)) for pid in pids.read_text().split())


def _group_alive(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def _until(condition: Any, seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is another process's
            await asyncio.sleep(0.01)


async def test_when_the_client_leaves_the_processes_end(jupyter: Any, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    python = script(tmp_path / "bin" / "python", f"echo $$ >> {pids}\nsleep 600 & sleep 600\n")
    jupyter.add_kernel("hangs", [python, *IPYKERNEL])
    request = asyncio.create_task(_raw(jupyter, "hangs"))
    await _until(pids.exists)
    writer = await request
    writer.close()
    await gone(pids)
    # and the doctor is free for another kernel
    jupyter.add_kernel("good", [sys.executable, *IPYKERNEL])
    assert report_of(await examine(jupyter, "good"))["kernel"] == "good"


async def _raw(jupyter: Any, kernel: str) -> asyncio.StreamWriter:
    _reader, writer = await asyncio.open_connection("127.0.0.1", jupyter.port)
    body = json.dumps({"kernel": kernel})
    lines = [
        "POST /user/ada/gpucamp/doctor/examinations HTTP/1.1",
        "Host: 127.0.0.1",
        "Authorization: token the-token-of-the-tests",
        f"Content-Length: {len(body)}",
        "",
        body,
    ]
    writer.write("\r\n".join(lines).encode())
    await writer.drain()
    return writer


async def test_a_second_examination_joins_or_waits(jupyter: Any, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    python = script(
        tmp_path / "bin" / "python", f'echo $$ >> {pids}\nsleep 1\nexec {sys.executable} "$@"\n'
    )
    jupyter.add_kernel("slow", [python, *IPYKERNEL])
    first = asyncio.create_task(examine(jupyter, "slow"))
    await _until(pids.exists)
    other = await jupyter.fetch(
        "gpucamp/doctor/examinations", method="POST", body={"kernel": "another"}
    )
    assert other.code == 409
    assert "slow" in json.loads(other.body)["message"]
    leaver = await _raw(jupyter, "slow")
    second = asyncio.create_task(examine(jupyter, "slow"))
    await asyncio.sleep(0.1)
    leaver.close()  # one listener of several; the examination goes on
    assert [event for _, event in await first] == [event for _, event in await second]
    # python, torch, packages, ipykernel: one examination's worth
    assert len(pids.read_text().split()) == 4


async def test_the_server_stops_while_an_examination_runs(jupyter: Any, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    python = script(tmp_path / "bin" / "python", f"echo $$ >> {pids}\nsleep 600\n")
    jupyter.add_kernel("hangs", [python, *IPYKERNEL])
    writer = await _raw(jupyter, "hangs")
    await _until(pids.exists)
    await jupyter.app.cleanup_extensions()
    await gone(pids)
    writer.close()


async def test_no_report_yet(jupyter: Any) -> None:
    response = await jupyter.fetch("gpucamp/doctor/report")
    assert response.code == 404
    assert "examine" in json.loads(response.body)["message"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b"[" * 100000])
async def test_a_damaged_report_counts_as_none(jupyter: Any, content: bytes) -> None:
    file = jupyter.root / ".gpucamp" / "doctor-report.json"
    file.parent.mkdir()
    file.write_bytes(content)
    assert (await jupyter.fetch("gpucamp/doctor/report")).code == 404


async def test_a_report_that_cannot_be_kept_fails_nothing(jupyter: Any) -> None:
    (jupyter.root / ".gpucamp").write_text("a file where the folder should be")
    jupyter.add_kernel("good", [sys.executable, *IPYKERNEL])
    assert report_of(await examine(jupyter, "good"))["kernel"] == "good"
    assert (await jupyter.fetch("gpucamp/doctor/report")).code == 404


async def test_chinese(jupyter: Any) -> None:
    english = report_of(await examine(jupyter, "nope"))
    for events in (
        await examine(jupyter, "nope", locale="zh_CN"),
        await jupyter.stream(
            "gpucamp/doctor/examinations?locale=zh-CN", method="POST", body={"kernel": "nope"}
        ),
        await jupyter.stream(
            "gpucamp/doctor/examinations",
            method="POST",
            body={"kernel": "nope"},
            headers={"Accept-Language": "fr, zh-CN;q=0.9, en;q=0.8"},
        ),
    ):
        report = report_of(events)
        assert codes(report) == codes(english)
        (title,) = [f["title"] for f in report["findings"] if f["code"] == "GC201"]
        assert "内核" in title and "nope" in title
    kept = await jupyter.json("gpucamp/doctor/report?locale=zh_CN")
    assert any("内核" in f["title"] for f in kept["findings"])
    kept = await jupyter.json("gpucamp/doctor/report?locale=en")
    assert not any("内核" in f["title"] for f in kept["findings"])
    response = await jupyter.fetch(
        "gpucamp/doctor/examinations?locale=zh_CN", method="POST", body="["
    )
    assert "JSON" in json.loads(response.body)["message"]
    assert not json.loads(response.body)["message"].isascii()


async def test_a_codes_page(jupyter: Any) -> None:
    response = await jupyter.fetch("gpucamp/doctor/findings/GC101")
    assert response.code == 200
    assert response.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert b"<h2>GC101" in response.body
    assert b"GC102" not in response.body.partition(b"</h2>")[0]
    assert (await jupyter.fetch("gpucamp/doctor/findings/GC999")).code == 404


PACKAGES = 500  # as many as a large environment has


def large_environment(folder: Path) -> str:
    """A folder with many packages: much to read, to send and to check."""
    for number in range(PACKAGES):
        name = f"package_{number}"
        (folder / name).mkdir(parents=True)
        info = folder / f"{name}-1.{number}.dist-info"
        info.mkdir()
        (info / "RECORD").write_text(f"{name}/__init__.py,sha256=x,0\n" * 20)
    return str(folder)


class Turns:
    """The longest that the running event loop keeps everybody waiting, in seconds.

    A turn is what the loop does between two waits for events: computing, and waiting for a disk,
    a lock or another thread. The time in which the turn could run but other processes had the
    processor is left out: that is the machine's doing, not ours.
    """

    def __init__(self) -> None:
        self._selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
        self._delays = os.open(
            f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY
        )
        self._began: tuple[float, float] | None = None
        self.longest = 0.0

    def __enter__(self) -> Turns:
        select = self._selector.select

        def watched(timeout: float | None = None) -> Any:
            if self._began is not None:
                taken, delayed = (
                    now - was for now, was in zip(self._now(), self._began, strict=True)
                )
                self.longest = max(self.longest, taken - delayed)
            events = select(timeout)
            self._began = self._now()
            return events

        self._selector.select = watched
        return self

    def __exit__(self, *_: object) -> None:
        del self._selector.select
        os.close(self._delays)

    def _now(self) -> tuple[float, float]:
        """By the clock, and how long this thread waited for a processor until now."""
        waited = os.pread(self._delays, 100, 0).split()[1]
        return time.monotonic(), int(waited) / 1e9


STALL = 0.05


async def test_the_measure_of_stalls_sees_one(jupyter: Any) -> None:
    for block in (
        lambda: time.sleep(2 * STALL),
        lambda: sum(number * number for number in range(5_000_000)),
    ):
        with Turns() as turns:
            await asyncio.sleep(0.02)
            before = turns.longest
            asyncio.get_running_loop().call_soon(block)
            await asyncio.sleep(0.02)
        assert before < STALL < turns.longest


async def test_the_event_loop_never_stalls(jupyter: Any, tmp_path: Path) -> None:
    """An examination keeps the server's other users waiting for 50 ms at most, in a large
    environment, too: the longest turn counts, of the best of three examinations.
    """
    env = {"PYTHONPATH": large_environment(tmp_path / "packages")}
    jupyter.add_kernel("large", [sys.executable, *IPYKERNEL], env)
    longest = []
    for _ in range(3):
        with Turns() as turns:
            report = report_of(await examine(jupyter, "large"))
        folders = report["facts"]["packages"]["value"]["directories"]
        assert max(len(folder["distributions"]) for folder in folders) >= PACKAGES
        longest.append(turns.longest)
        if turns.longest < STALL:
            return
    pytest.fail(f"the longest turns of each examination: {longest}")
