"""Records what real torchrun writes for each script of failures/ into recorded/.

    python tests/unit/ddp/record.py FOLDER [name ...]

with a Python that has the pinned torch and server_ext (the image's has both); FOLDER is made where
it is missing. Paths of this machine are replaced. Recorded is what the server reads when it
explains an end: the log, or where that is long or the run was started anew, the ranks' own files.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from server_ext.ddp.logs import said

HERE = Path(__file__).parent
OPTIONS = {
    "exception--rank-3-of-4": ["--nproc-per-node", "4"],
    "exception--other-in-second-attempt": ["--max-restarts", "1"],
}
RECORDED_BYTES = 24 * 1024


def record(script: Path, target: Path) -> None:
    """Run one script with two ranks; write its log, and torchrun's exit code in the first line."""
    with tempfile.TemporaryDirectory() as folder:
        options = OPTIONS.get(script.stem, [])
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--local-addr", "127.0.0.1", "--nproc-per-node", "2", "--log-dir", f"{folder}/ranks"),
            *("--redirects", "3", "--tee", "3", *options, str(script)),
        ]
        environment = {
            **os.environ,
            **{"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "GLOO_SOCKET_IFNAME": "lo"},
            **{"NCCL_SOCKET_IFNAME": "lo", "TORCH_DISTRIBUTED_DEBUG": "INFO"},
        }
        log = Path(folder) / "run.log"
        with log.open("wb") as output:
            done = subprocess.run(
                command, env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT
            )
        restarts = int("--max-restarts" in options)
        text = said(str(log), f"{folder}/ranks", (), restarts, RECORDED_BYTES)
    text = text.replace(str(HERE), "/home/jovyan/work")
    text = re.sub(re.escape(sys.prefix), "/home/jovyan/.venv", text).replace(folder, "/tmp/run")
    target.mkdir(exist_ok=True)
    (target / f"{script.stem}.log").write_text(
        f"exit code {done.returncode}\n{text}", encoding="utf-8"
    )
    print(script.stem, done.returncode, flush=True)


if __name__ == "__main__":
    for path in sorted((HERE / "failures").glob("*.py")):
        if not sys.argv[2:] or path.stem in sys.argv[2:]:
            record(path, Path(sys.argv[1]))
