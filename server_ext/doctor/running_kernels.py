"""The kernels that this Jupyter Server runs: which process each is, what it says of itself, and how
much memory of the GPU each holds.

Guarantees: a kernel that is busy is asked nothing, and one that does not answer is left after
SECONDS, with a question that does nothing if it is read later. Asking leaves nothing behind: no
name, no history, no output, no count. Nothing here raises for what a kernel does; what it says is
bounded and taken for data.
"""

from __future__ import annotations

import ast
import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import NotFound
from ..i18n import N_
from . import running
from .facts import Failure, ProbeResult
from .kernel import Kernel, SpecManager, find_async, without_secrets
from .probing import PROBES_DIR, Probe, run_probe
from .settings import ALLOWED_VARIABLES

NAME = "kernels"
SECONDS = 3.0
MOST_KERNELS = 32
LONGEST_ANSWER = 64 * 1024


class RunningKernels:
    """See the module. kernels, sessions, specs: Jupyter Server's managers."""

    def __init__(self, kernels: Any, sessions: Any, specs: SpecManager) -> None:
        self._kernels = kernels
        self._sessions = sessions
        self._specs = specs

    def name_of(self, kernel_id: str) -> str:
        """The name of the spec of a kernel that runs. Raises NotFound."""
        model = self._model(kernel_id)
        if model is None:
            raise NotFound(
                N_("No kernel with the id {kernel} is running; it may have ended."),
                kernel=kernel_id,
            )
        return str(model.get("name"))

    def runs(self, kernel_id: str) -> bool:
        """Whether there is a kernel with this id."""
        return self._model(kernel_id) is not None

    async def find(self, kernel_id: str, name: str, environ: Mapping[str, str]) -> Kernel:
        """The Kernel of what runs under this id; if it has ended meanwhile, what `name` starts."""
        spec = await find_async(name, self._specs, environ)
        label = (await self._paths()).get(kernel_id, "")
        model = self._model(kernel_id)
        if model is None:
            nothing = ProbeResult(running.ASKED, value={"asked": False, "why": "ended"})
            target = running.Target(None, label=label, kernel_id=kernel_id)
            return running.not_running(spec, target, {"state": "ended"}, nothing)
        answer = await self.ask(kernel_id)
        pid, word = self._process(kernel_id)
        target = running.Target(pid, word, label, kernel_id)
        return await running.find(target, spec, answer, environ)

    async def ask(self, kernel_id: str) -> ProbeResult:
        """The facts "asked": what the kernel says of itself. {"asked": False, "why"} of one that is
        not idle.
        """
        started = time.monotonic()
        model = self._model(kernel_id)
        state = str((model or {}).get("execution_state"))
        if state != "idle":
            return ProbeResult(running.ASKED, value={"asked": False, "why": state[:40]})
        failure: Failure | None = None
        value: Mapping[str, object] = {}
        try:
            async with asyncio.timeout(SECONDS):
                manager = self._kernels.get_kernel(kernel_id)
                if not await manager.is_alive():
                    return ProbeResult(running.ASKED, value={"asked": False, "why": "ended"})
                value = await _question(manager)
        except TimeoutError:
            failure = Failure("timeout", f"it is idle, and gave no answer within {SECONDS:g} s")
        except Exception as error:  # it ended, or speaks another protocol
            failure = Failure("garbage", f"{type(error).__name__}: {error}"[:300])
        seconds = time.monotonic() - started
        return ProbeResult(running.ASKED, seconds, {"asked": True, **value}, failure)

    async def table(self, environ: Mapping[str, str]) -> ProbeResult:
        """The facts "kernels": {asked, kernels: [{id, name, label, state, pid, gpu, gpu_bytes,
        devices, resident_bytes}], programs: [{pid, command, parent}]}.
        """
        started = time.monotonic()
        models = [model for model in self._kernels.list_kernels() if isinstance(model, dict)]
        models = models[:MOST_KERNELS]
        words, order = ["all"], []
        for model in models:
            pid, word = self._process(str(model["id"]))
            if pid is not None:
                words.append(f"{pid}:{word}")
                order.append(model)
        probe = Probe(NAME, "running", running.SECONDS, tuple(words))
        env = without_secrets(environ)
        result = await run_probe(probe, running.server_python(), env, "/")
        if result.failure is not None:
            return result
        seen = result.value.get("kernels")
        rows = [row for row in seen if isinstance(row, dict)] if isinstance(seen, list) else []
        if len(rows) != len(order):
            failure = Failure("garbage", "not as many kernels as were asked for")
            return ProbeResult(NAME, time.monotonic() - started, failure=failure)
        paths = await self._paths()
        told = await asyncio.gather(
            *(self._row(model, row, paths) for model, row in zip(order, rows, strict=True))
        )
        value = {
            "asked": True,
            "kernels": [row for row in told if row is not None],
            "programs": result.value.get("programs"),
        }
        return ProbeResult(NAME, time.monotonic() - started, value)

    async def _row(
        self, model: Mapping[str, Any], row: Mapping[str, Any], paths: Mapping[str, str]
    ) -> dict[str, object] | None:
        if row.get("gone"):
            return None
        kernel_id = str(model["id"])
        devices: list[dict[str, object]] | None = None
        if row.get("gpu") and row.get("torch"):
            devices = memory_of((await self.ask(kernel_id)).value)
        total = sum(_number(item["bytes"]) for item in devices) if devices is not None else None
        return {
            "id": kernel_id,
            "name": str(model.get("name")),
            "label": paths.get(kernel_id, ""),
            "state": str(model.get("execution_state")),
            "pid": row.get("pid"),
            "members": row.get("members"),
            "gpu": row.get("gpu") is True,
            "resident_bytes": row.get("resident_bytes"),
            "devices": devices,
            "gpu_bytes": total,
        }

    def _model(self, kernel_id: str) -> Mapping[str, Any] | None:
        try:
            model = self._kernels.kernel_model(kernel_id)
        except Exception:  # whatever the manager says of an unknown id (HTTPError, KeyError)
            return None
        return model if isinstance(model, dict) else None

    def _process(self, kernel_id: str) -> tuple[int | None, str]:
        """Its pid, if it is a process of this machine, and a word of its command line."""
        try:
            manager = self._kernels.get_kernel(kernel_id)
            pid = getattr(manager.provisioner, "pid", None)
            word = Path(manager.connection_file).name
        except Exception:  # it ended, or is one of another machine (a gateway)
            return None, ""
        return (pid if isinstance(pid, int) and pid > 0 else None), word

    async def _paths(self) -> dict[str, str]:
        """Kernel id -> the notebook or console that it belongs to."""
        try:
            sessions = await self._sessions.list_sessions()
            return {
                str(session["kernel"]["id"]): str(session.get("path") or session.get("name") or "")
                for session in sessions
                if session.get("kernel")
            }
        except Exception:  # a list for people only, of a database that may be locked
            return {}


def memory_of(answer: Mapping[str, object]) -> list[dict[str, object]] | None:
    """[{uuid, bytes}] that torch holds by a kernel's own word; None where it said nothing."""
    torch = answer.get("torch")
    if not isinstance(torch, Mapping):
        return None
    devices = torch.get("devices")
    if not isinstance(devices, list):
        return [] if torch.get("initialized") is False else None
    return [
        {"uuid": str(item.get("uuid", ""))[:100], "bytes": _number(item.get("reserved"))}
        for item in devices
        if isinstance(item, Mapping)
    ]


def expression(until: float) -> str:
    """What is asked: one expression, which gives a text. until: seconds since the epoch."""
    source = (PROBES_DIR / "in_kernel.py").read_text("utf-8")
    call = f"space['answer']({list(ALLOWED_VARIABLES)!r}, {until!r})"
    run = f"__import__('builtins').exec({source!r}, space)"
    return f"(lambda space: ({run}, {call})[1])({{'__name__': 'gpucamp'}})"


def read(content: Mapping[str, Any]) -> dict[str, object]:
    """The answer in an execute_reply. Raises ValueError."""
    told = content.get("user_expressions", {}).get(running.ASKED, {})
    if content.get("status") != "ok" or told.get("status") != "ok":
        problem = told.get("ename") or content.get("ename") or content.get("status")
        raise ValueError(f"the kernel answered: {problem}")
    text = told.get("data", {}).get("text/plain")
    if not isinstance(text, str) or len(text) > LONGEST_ANSWER:
        raise ValueError("the kernel's answer is no text, or too long")
    try:
        value = json.loads(ast.literal_eval(text))
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"the kernel's answer is not JSON: {type(error).__name__}") from None
    if not isinstance(value, dict):
        raise ValueError("the kernel's answer is not an object")
    if "error" in value:
        raise ValueError(f"the kernel answered: {str(value['error'])[:100]}")
    return value


async def _question(manager: Any) -> dict[str, object]:
    """Asks over a connection of its own."""
    # loaded when a kernel is asked: who only imports this module may have no kernels
    from jupyter_client.asynchronous.client import AsyncKernelClient
    from jupyter_client.session import Session

    asking = await asyncio.to_thread(expression, time.time() + SECONDS)
    known = manager.session
    # a session of its own: with the identity of another connection the kernel would not hear it
    session = Session(key=known.key, signature_scheme=known.signature_scheme)
    client = manager.client(session=session, context=manager.context)
    if not isinstance(client, AsyncKernelClient):
        raise TypeError("its connections would block the server")
    channel = client.shell_channel
    try:
        sent = client.execute(
            "",
            silent=True,
            store_history=False,
            user_expressions={running.ASKED: asking},
            allow_stdin=False,
            stop_on_error=False,
        )
        while True:
            reply = await channel.get_msg()
            if reply["parent_header"].get("msg_id") == sent:
                return read(reply["content"])
    finally:
        channel.stop()


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
