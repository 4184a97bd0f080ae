"""Records what real torchrun writes for each script of failures/ into recorded/.

    python tests/unit/ddp/record.py FOLDER [name ...]

with a Python that has the pinned torch and server_ext (the image's has both) in a container of the
image as the spawner starts it, but with Docker's own /dev/shm; FOLDER is made where it is missing.
Paths of this machine are replaced. Recorded is what the server reads when it explains an end: the
log, or where that is long or the run was started anew, the ranks' own files.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from server_ext.ddp.logs import said

HERE = Path(__file__).parent
FAKES = HERE.parents[1] / "fakes"
NEEDS: dict[str, dict[str, Any]] = tomllib.loads((HERE / "failure_needs.toml").read_text("utf-8"))
RECORDED_BYTES = 24 * 1024


def record(script: Path, target: Path) -> None:
    """Run one script with two ranks; write its log, and torchrun's exit code in the first line."""
    needs = NEEDS.get(script.stem, {})
    restarts, processes = needs.get("restarts", 0), needs.get("processes", 2)
    with tempfile.TemporaryDirectory() as folder:
        scripts = Path(folder) / "failures"
        scripts.mkdir()
        shutil.copy(script, scripts)  # it may delete itself
        for name, text in needs.get("files", {}).items():
            (scripts / name).parent.mkdir(exist_ok=True)
            (scripts / name).write_text(text, encoding="utf-8")
        python = _bare_python(folder) if needs.get("python") == "bare" else sys.executable
        command = [
            *(python, "-m", "torch.distributed.run", "--standalone"),
            *("--local-addr", "127.0.0.1", "--nproc-per-node", str(processes)),
            *("--log-dir", f"{folder}/ranks", "--redirects", "3", "--tee", "3"),
            *("--max-restarts", str(restarts), str(scripts / script.name)),
        ]
        environment = {
            **os.environ,
            **{"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "GLOO_SOCKET_IFNAME": "lo"},
            **{"NCCL_SOCKET_IFNAME": "lo", "TORCH_DISTRIBUTED_DEBUG": "INFO"},
            **{"NCCL_DEBUG": "WARN"},
            **(_card(folder) if needs.get("card") else {}),
            **{
                name: value.replace("{folder}", str(scripts))
                for name, value in needs.get("environment", {}).items()
            },
        }
        log = Path(folder) / "run.log"
        with log.open("wb") as output:
            done = subprocess.run(
                command, env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT
            )
        text = said(str(log), f"{folder}/ranks", (), restarts, RECORDED_BYTES)
    text = text.replace(str(scripts), "/home/jovyan/work/failures")
    text = text.replace(socket.gethostname(), "localhost")
    text = re.sub(re.escape(sys.prefix), "/home/jovyan/.venv", text).replace(folder, "/tmp/run")
    target.mkdir(exist_ok=True)
    (target / f"{script.stem}.log").write_text(
        f"exit code {done.returncode}\n{text}", encoding="utf-8"
    )
    print(script.stem, done.returncode, flush=True)


def _bare_python(folder: str) -> str:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", f"{folder}/bare"], check=True)
    return f"{folder}/bare/bin/python"


def _card(folder: str) -> dict[str, str]:
    """Variables with which processes see a card."""
    for source, library in (("libcuda.c", "libcuda.so.1"), ("libcudart.c", "libmimalloc.so")):
        build = ["gcc", "-shared", "-fPIC", "-o", f"{folder}/{library}", str(FAKES / source)]
        subprocess.run(build, check=True)
    return {"LD_PRELOAD": f"{folder}/libmimalloc.so", "LD_LIBRARY_PATH": folder}


if __name__ == "__main__":
    for path in sorted((HERE / "failures").glob("*.py")):
        if not sys.argv[2:] or path.stem in sys.argv[2:]:
            record(path, Path(sys.argv[1]))
