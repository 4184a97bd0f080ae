"""A run's numbers in the real TensorBoard and the real wandb (offline: tests reach no service)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from lab_server import LabServer
from participant_files import install

pytestmark = pytest.mark.timeout(600)  # the first counts the installation

TRAIN = """
import os, time
rank = int(os.environ["RANK"])
for step in range(20):
    print(f"step={step} loss={1 / (step + 1 + 100 * rank):.4f}", flush=True)
    time.sleep(0.05)
"""
READ_EVENTS = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1]); events.Reload()
print(json.dumps({tag: [(e.step, e.value) for e in events.Scalars(tag)]
                  for tag in events.Tags()["scalars"]}))
"""
# a .wandb file: a header of 7 bytes, then records as in LevelDB's log, in blocks of 32 KiB; each
# piece has a checksum (4 bytes), its length (2) and whether more follows (1)
READ_WANDB = """
import glob, json, struct, sys
from wandb.proto import wandb_internal_pb2
data = open(glob.glob(sys.argv[1] + "/*.wandb")[0], "rb").read()
at, whole, rows, ends = 7, b"", [], []
while at + 7 <= len(data):
    if 32768 - at % 32768 < 7:
        at += 32768 - at % 32768
        continue
    length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
    whole += data[at + 7 : at + 7 + length]
    at += 7 + length
    if kind not in (1, 4):  # the whole record, or its last piece
        continue
    record = wandb_internal_pb2.Record()
    record.ParseFromString(whole)
    whole = b""
    if record.WhichOneof("record_type") == "history":
        rows.append({item.key or ".".join(item.nested_key): json.loads(item.value_json)
                     for item in record.history.item})
    if record.WhichOneof("record_type") == "exit":
        ends.append(record.exit.exit_code)
print(json.dumps({"rows": rows, "ends": ends}))
"""


@pytest.fixture(scope="module")
def lab(engine: docker.DockerClient, image: str) -> Iterator[LabServer]:
    with LabServer.serving(engine, image) as server:
        for name, text in {
            "train.py": TRAIN,
            "read_events.py": READ_EVENTS,
            "read_wandb.py": READ_WANDB,
        }.items():
            server.ok(f"cat > {name} <<'END'\n{text}\nEND")
        yield server


def launch(lab: LabServer, **body: Any) -> dict[str, Any]:
    """The run after its end."""
    body = {"script": "train.py", "processes": 2, **body}
    status, run = lab.ask("POST", "gpucamp/ddp/runs", body)
    assert status == 201, run
    status, events = lab.ask("GET", f"gpucamp/ddp/runs/{run['id']}/log")
    assert events[-1]["event"] == "end"
    return dict(events[-1]["run"])


def states(lab: LabServer, run: dict[str, Any]) -> dict[str, dict[str, str]]:
    """What became of its trackers, once they are done."""
    deadline = time.monotonic() + 90
    while True:
        _, told = lab.ask("GET", f"gpucamp/ddp/runs/{run['id']}/metrics")
        found = {one["name"]: one for one in told["trackers"]}
        if all(one["state"] not in ("waiting", "open") for one in found.values()):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.3)


LOSSES = [(step, pytest.approx(1 / (step + 1), abs=1e-3)) for step in range(20)]


def test_without_the_packages_it_is_said_and_the_run_is_well(lab: LabServer) -> None:
    run = launch(lab, trackers=["tensorboard", "wandb"], environment={"WANDB_MODE": "offline"})
    assert run["state"] == "succeeded"
    assert {name: one["state"] for name, one in states(lab, run).items()} == {
        "tensorboard": "missing",
        "wandb": "missing",
    }


def test_rank_0_is_logged_to_both_for_real(lab: LabServer) -> None:
    install(lab, "tensorboard wandb")
    lab.ok("mkdir -p runs")
    status, plan = lab.ask(
        "POST",
        "gpucamp/ddp/plan",
        {"script": "train.py", "processes": 2, "environment": {"WANDB_MODE": "offline"}},
    )
    assert plan["trackers"] == [
        {"name": "tensorboard", "where": "runs", "offline": False},
        {"name": "wandb", "where": "train", "offline": True},
    ]
    run = launch(lab, environment={"WANDB_MODE": "offline"})
    found = states(lab, run)
    assert {name: one["state"] for name, one in found.items()} == {
        "tensorboard": "closed",
        "wandb": "closed",
    }, lab.sh(f"cat .gpucamp/runs/{run['id']}/trackers.log")
    assert found["tensorboard"]["where"] == f"runs/train-{run['id']}"
    events = json.loads(lab.ok(f"python read_events.py {found['tensorboard']['where']}"))
    assert events == {"loss": [list(one) for one in LOSSES]}
    assert found["wandb"]["where"].startswith("wandb/offline-run-")
    kept = json.loads(lab.ok(f"python read_wandb.py {found['wandb']['where']}"))
    assert [(row["step"], row["loss"]) for row in kept["rows"]] == LOSSES
    assert kept["ends"] == [0]


def test_a_key_that_does_not_work_is_told_and_is_nowhere(lab: LabServer) -> None:
    key = "0123456789abcdef0123456789abcdef01234567"
    environment = {"WANDB_API_KEY": key, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    environment |= {"WANDB_INIT_TIMEOUT": "5", "WANDB_HTTP_TIMEOUT": "2"}
    began = time.monotonic()
    run = launch(lab, environment=environment, trackers=["wandb"])
    assert run["state"] == "succeeded" and time.monotonic() - began < 60
    found = states(lab, run)["wandb"]
    assert found["state"] == "failed" and found["reason"]
    lab.ok(f'test -z "$(grep -rl {key} .gpucamp)"')
    _, again = lab.ask("GET", f"gpucamp/ddp/runs/{run['id']}")
    assert "WANDB_API_KEY" not in again["environment"] and key not in json.dumps(again)


def test_wandb_that_is_asked_for_without_a_key_is_refused(lab: LabServer) -> None:
    status, told = lab.ask(
        "POST", "gpucamp/ddp/runs", {"script": "train.py", "trackers": ["wandb"]}
    )
    assert status == 400 and "wandb login" in told["message"]


def test_in_a_terminal(lab: LabServer) -> None:
    said = lab.ok("WANDB_MODE=offline gpucamp-ddp -n 2 train.py 2>&1 >/dev/null")
    assert "TensorBoard: " in said and "Weights & Biases: " in said
    said = lab.ok("WANDB_MODE=offline gpucamp-ddp -n 2 --trackers none train.py 2>&1 >/dev/null")
    assert "TensorBoard" not in said
