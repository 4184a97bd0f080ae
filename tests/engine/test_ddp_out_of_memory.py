"""A run in a container whose memory is full: the kernel kills for real, and the record says so."""

from __future__ import annotations

import re

import docker
import pytest
from ddp_lab import Lab

HUNGRY = """
import time
import torch.distributed as dist
dist.init_process_group("gloo")
kept = []
while dist.get_rank() == 1:
    kept.append(bytearray(50_000_000))
    print(len(kept), flush=True)
    time.sleep(0.02)
dist.barrier()
"""

# of cgroups in version 2 and 1
COUNTS = "/sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control"

pytestmark = pytest.mark.timeout(200)


def test_a_rank_that_fills_the_containers_memory(engine: docker.DockerClient, image: str) -> None:
    with Lab.serving(engine, image) as lab:
        lab.ok(f"cat > hungry.py <<'END'\n{HUNGRY}END")
        lab.container.update(mem_limit="1500m", memswap_limit="1500m")
        text, run = lab.log(lab.launch("hungry.py"))
        assert run["state"] == "failed", text
        found = run["diagnosis"]
        assert (found["code"], found["rank"]) == ("killed", 1), found
        assert "memory is full" in found["cause"]
        assert re.search(r"^oom_kill [1-9]", lab.sh(f"cat {COUNTS}")[1], re.M), "nobody was killed"
        assert lab.ask("GET", "gpucamp/status")[0] == 200, "the server lives"
