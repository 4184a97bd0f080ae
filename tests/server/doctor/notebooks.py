"""Notebooks with real ipykernels on a real Jupyter Server, and what is examined of them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_client.session import Session

IPYKERNEL = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
EXAMINATIONS = "gpucamp/doctor/examinations"


class Notebook:
    """A notebook with a kernel that runs."""

    def __init__(self, jupyter: Any, kernel_id: str) -> None:
        self.jupyter = jupyter
        self.kernel_id = kernel_id

    @property
    def manager(self) -> Any:
        return self.jupyter.app.kernel_manager.get_kernel(self.kernel_id)

    @property
    def pid(self) -> int:
        return int(self.manager.provisioner.pid)

    @property
    def state(self) -> str:
        model = self.jupyter.app.kernel_manager.kernel_model(self.kernel_id)
        return str(model["execution_state"])

    def _client(self) -> Any:
        """With an identity of its own: of two connections with one identity, the kernel hears the
        one that came last, and those of one manager share theirs.
        """
        known = self.manager.session
        session = Session(key=known.key, signature_scheme=known.signature_scheme)
        return self.manager.client(session=session, context=self.manager.context)

    async def run(self, code: str, **options: Any) -> Any:
        """Runs a cell to its end; the content of its reply."""
        client = self._client()
        try:
            sent = client.execute(code, **options)
            async with asyncio.timeout(60):
                while True:
                    reply = await client.shell_channel.get_msg()
                    if reply["parent_header"].get("msg_id") == sent:
                        break
        finally:
            client.shell_channel.stop()
        await self.idle()
        return reply["content"]

    async def idle(self, condition: Callable[[], bool] = lambda: True) -> None:
        """Until the condition holds and the server has heard that the kernel is idle.

        What a kernel publishes before the server listens is lost, and so may be the end of its
        first cell: whatever it is asked next, it says again that it is idle.
        """
        if condition() and self.state == "idle":
            return
        client = self._client()
        try:
            for _ in range(59):
                with contextlib.suppress(TimeoutError):
                    return await until(lambda: condition() and self.state == "idle", 1)
                client.kernel_info()
            await until(lambda: condition() and self.state == "idle", 1)
        finally:
            client.shell_channel.stop()

    async def ok(self, code: str) -> None:
        content = await self.run(code)
        assert content["status"] == "ok", content

    async def value(self, expression: str) -> str:
        """As text, without a trace in the kernel's history."""
        content = await self.run(
            "", silent=True, store_history=False, user_expressions={"x": expression}
        )
        return str(content["user_expressions"]["x"]["data"]["text/plain"])


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is another process's
            await asyncio.sleep(0.01)


async def open_notebook(jupyter: Any, path: str = "a.ipynb", kernel: str = "python3") -> Notebook:
    """A notebook as JupyterLab opens it, whose kernel has run a cell."""
    body = {"path": path, "type": "notebook", "kernel": {"name": kernel}}
    session = await jupyter.json("api/sessions", method="POST", body=body)
    notebook = Notebook(jupyter, session["kernel"]["id"])
    await notebook.ok("1 + 1")
    return notebook


async def examine(jupyter: Any, notebook: Notebook | None = None, **body: Any) -> dict[str, Any]:
    if notebook is not None:
        body["kernel_id"] = notebook.kernel_id
    events = await jupyter.stream(EXAMINATIONS, method="POST", body=body)
    assert events[-1][1]["event"] == "finished", events[-1]
    return events[-1][1]["report"]


def findings(report: dict[str, Any]) -> dict[str, Any]:
    return {finding["code"]: finding for finding in report["findings"]}


def of_running(report: dict[str, Any]) -> set[str]:
    return {code for code in findings(report) if code.startswith("GC7")}


def variables(report: dict[str, Any]) -> dict[str, str]:
    return report["facts"]["environment"]["value"]["variables"]


TORCH = """
import mmap, os, types
__version__ = open(os.path.join(os.path.dirname(__file__), "version")).read()
class cuda:
    is_initialized = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 1)
    memory_stats = staticmethod(lambda index: {
        "allocated_bytes.all.current": 30 << 30, "reserved_bytes.all.current": 31 << 30,
        "inactive_split_bytes.all.current": unusable, "num_ooms": 1,
    })
    get_device_properties = staticmethod(lambda index: types.SimpleNamespace(
        total_memory=40 << 30, uuid="x"))
    @staticmethod
    def current_stream(index):
        def query():
            if error: raise RuntimeError(error)
        return types.SimpleNamespace(query=query)
error, unusable = "", 0
def zeros(*size): return types.SimpleNamespace(numpy=lambda: [0.0])
version = types.SimpleNamespace(cuda="12.8")
class backends:
    class cudnn:
        benchmark = False
maps = []
for name in ("libcuda.so.1", "libtorch_cpu.so"):
    with open(os.path.join(os.path.dirname(__file__), "lib", name), "rb") as stream:
        maps.append(mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ))
"""


def with_torch(jupyter: Any, folder: Path) -> Path:
    """A kernel "torch" with a stand-in for torch that holds 31 of 40 GiB; its package's folder."""
    package, info = folder / "site-packages" / "torch", "torch-2.9.1.dist-info"
    (package / "lib").mkdir(parents=True)
    for name in ("libcuda.so.1", "libtorch_cpu.so"):
        (package / "lib" / name).write_bytes(b"x" * 4096)
    (package / "__init__.py").write_text(TORCH)
    (package / "version").write_text("2.9.1")
    (package.parent / info).mkdir()
    env = {"PYTHONPATH": str(package.parent)}
    jupyter.add_kernel("torch", [sys.executable, *IPYKERNEL], env)
    return package


REPAIRS = "gpucamp/doctor/repairs"
# a file that another test puts into /dev/shm meanwhile
OF_THE_MACHINE = {"GC403"}


async def offered(jupyter: Any, code: str) -> dict[str, Any]:
    """What the last examination offers for a code."""
    answer = await jupyter.json(REPAIRS)
    (found,) = [each for each in answer["repairs"] if each["code"] == code]
    assert found["says"] and found["loses"] and found["undo"]
    return dict(found)


async def carry_out(jupyter: Any, repair: dict[str, Any]) -> list[dict[str, Any]]:
    """Does what was offered; the events of it."""
    body = {"code": repair["code"], "command": repair["command"]}
    return [event for _, event in await jupyter.stream(REPAIRS, method="POST", body=body)]


async def mended(jupyter: Any, report: dict[str, Any], code: str) -> dict[str, Any]:
    """The report after the repair that this one offers: the code is gone, and nothing is new."""
    events = await carry_out(jupyter, await offered(jupyter, code))
    kinds = [event["event"] for event in events]
    assert kinds.index("repaired") < kinds.index("started") < kinds.index("finished"), events
    after: dict[str, Any] = events[-1]["report"]
    assert code not in findings(after), after["findings"]
    new = set(findings(after)) - set(findings(report)) - OF_THE_MACHINE
    assert not new, after["findings"]
    return after
