"""A participant's server to which runs are given through the REST interface of Launch DDP."""

from __future__ import annotations

import io
import shlex
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab_server import LabServer

ALIVE = ("starting", "running")
UNIT = Path(__file__).parents[1] / "unit" / "ddp"


class Lab(LabServer):
    """With test scripts to launch."""

    def put(self, *folders: Path) -> None:
        """Copy scripts of this repository to ~/work/<folder>."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for folder in folders:
                for path in folder.glob("*.py"):
                    member = tarfile.TarInfo(f"{folder.name}/{path.name}")
                    data = path.read_bytes()
                    member.size, member.uid, member.gid, member.mode = len(data), 1000, 100, 0o644
                    tar.addfile(member, io.BytesIO(data))
        assert self.container.put_archive("/home/jovyan/work", archive.getvalue())

    def launch(self, script: str, *arguments: str, **choices: Any) -> dict[str, Any]:
        """choices: of the form, as the REST interface names them."""
        status, run = self.ask(
            "POST",
            "gpucamp/ddp/runs",
            {"script": script, "arguments": list(arguments), "processes": 2, **choices},
        )
        assert status == 201, run
        return run

    def log(self, run: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The whole log and the run after its end."""
        status, events = self.ask("GET", f"gpucamp/ddp/runs/{run['id']}/log")
        assert status == 200
        assert events[-1]["event"] == "end"
        return "".join(event["text"] for event in events[:-1]), events[-1]["run"]

    def until_ranks(self, run: dict[str, Any], count: int) -> None:
        deadline = time.monotonic() + 60
        while len(self.ask("GET", f"gpucamp/ddp/runs/{run['id']}")[1]["ranks"]) < count:
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def until_run(self, script: str, met: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The run of a script that was started elsewhere, once it is alive and `met` is true."""
        deadline = time.monotonic() + 180
        while True:
            runs = self.ask("GET", "gpucamp/ddp/runs")[1]["runs"]
            for run in runs:
                if run["script"] == script and run["state"] in ALIVE and met(run):
                    return run
            assert time.monotonic() < deadline, runs
            time.sleep(0.3)

    def until_log_says(self, run: dict[str, Any], word: str) -> None:
        deadline = time.monotonic() + 60
        while self.sh(f"grep -q {word} .gpucamp/runs/{run['id']}/run.log")[0] != 0:
            assert time.monotonic() < deadline
            time.sleep(0.3)

    def processes_of(self, script: str) -> str:
        """Command lines that name the script, this look excepted."""
        found = [f"[{script[0]}]{script[1:]}"]
        return self.sh(f"ps -eo pid,args | grep -- {shlex.quote(found[0])}")[1]
