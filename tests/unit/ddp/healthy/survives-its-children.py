"""Its child processes are killed and fail, its data is not there, and it ends well."""

import subprocess
import sys

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
for code in ("import os; os.abort()", "raise SystemExit('failed')", "1 / 0"):
    assert subprocess.run([sys.executable, "-c", code]).returncode != 0
try:
    torch.load("not-there.pt")
except FileNotFoundError as error:
    print("ERROR", error, "starting from scratch", file=sys.stderr)
dist.all_reduce(torch.ones(2))
dist.destroy_process_group()
