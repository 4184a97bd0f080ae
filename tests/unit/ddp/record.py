"""Records what real torchrun writes for each script of failures/ into recorded/.

    python tests/unit/ddp/record.py [name ...]

with the Python of an environment that has the pinned torch. Paths of this machine are replaced.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def record(script: Path) -> None:
    """Run one script with two ranks; write its log, and torchrun's exit code in the first line."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--local-addr", "127.0.0.1", "--nproc-per-node", "2", "--log-dir", folder),
            *("--redirects", "3", "--tee", "3", str(script)),
        ]
        environment = {
            **os.environ,
            **{"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "GLOO_SOCKET_IFNAME": "lo"},
            **{"NCCL_SOCKET_IFNAME": "lo", "TORCH_DISTRIBUTED_DEBUG": "INFO"},
        }
        done = subprocess.run(
            command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    text = done.stdout.decode(errors="replace").replace(str(HERE), "/home/jovyan/work")
    text = re.sub(re.escape(sys.prefix), "/home/jovyan/.venv", text).replace(folder, "/tmp/run")
    target = HERE / "recorded" / f"{script.stem}.log"
    target.write_text(f"exit code {done.returncode}\n{text}", encoding="utf-8")
    print(script.stem, done.returncode, flush=True)


if __name__ == "__main__":
    for path in sorted((HERE / "failures").glob("*.py")):
        if not sys.argv[1:] or path.stem in sys.argv[1:]:
            record(path)
