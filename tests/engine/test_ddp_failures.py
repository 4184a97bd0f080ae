"""Failures of Launch DDP in the real image: the scripts of failures/ that need more than two ranks
on a CPU, each provoked as failure_needs.toml says, and explained by the real server.

A card is played by tests/fakes/libcudart.c: nothing is computed, but what is said about it is what
PyTorch and NCCL themselves say.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from ddp_lab import UNIT, Lab
from doctor_patient import FAKE_CUDA, FAKE_RUNTIME
from participant_files import put

NEEDS: dict[str, dict[str, Any]] = tomllib.loads((UNIT / "failure_needs.toml").read_text("utf-8"))
WORK = "/home/jovyan/work"
SCRIPTS = f"{WORK}/mine"  # a folder that is copied into a container is root's
CARD = {
    "CUDA_VISIBLE_DEVICES": "0",  # of a practice device it is empty
    "LD_LIBRARY_PATH": f"{WORK}/card",
    "LD_PRELOAD": f"{WORK}/card/libmimalloc.so",
}
BASE = "/home/jovyan/.venv/lib/python3.11/site-packages/gpucamp-base.pth"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def lab(engine: docker.DockerClient, image: str) -> Iterator[Lab]:
    with Lab.serving(engine, image, shm_size="64m") as made:
        made.put(UNIT / "failures")
        put(made, FAKE_CUDA, "fakes/libcuda.c")
        put(made, FAKE_RUNTIME, "fakes/libcudart.c")
        made.ok(f"cp -r failures {SCRIPTS} && mkdir card")
        made.ok("gcc -shared -fPIC -o card/libcuda.so.1 fakes/libcuda.c")
        made.ok("gcc -shared -fPIC -o card/libmimalloc.so fakes/libcudart.c")
        yield made


@pytest.fixture
def without_torch(lab: Lab) -> Iterator[None]:
    """The participant's environment has lost the way to the image's packages."""
    lab.ok(f"mv {BASE} lost.pth")
    yield
    lab.ok(f"mv lost.pth {BASE}")


def explained(lab: Lab, name: str, **choices: Any) -> None:
    text, run = lab.log(lab.launch(f"mine/{name}.py", **choices))
    assert run["state"] == "failed", text
    assert run["diagnosis"]["code"] == name.partition("--")[0], (run["diagnosis"], text)
    assert run["diagnosis"]["cause"] and run["diagnosis"]["fix"] and run["diagnosis"]["evidence"]


# a container of two cores starts two processes at most
@pytest.mark.parametrize(
    "name", [name for name in NEEDS if not {"python", "processes"} & {*NEEDS[name]}]
)
def test_what_is_provoked_is_explained(lab: Lab, name: str) -> None:
    needs = NEEDS[name]
    for file, text in needs.get("files", {}).items():
        lab.ok(f"mkdir -p $(dirname mine/{file}) && cat > mine/{file} <<'END'\n{text}\nEND")
    environment = needs.get("environment", {})
    explained(
        lab,
        name,
        max_restarts=needs.get("restarts", 0),
        environment={
            **(CARD if needs.get("card") else {}),
            **{key: value.replace("{folder}", SCRIPTS) for key, value in environment.items()},
        },
    )


@pytest.mark.usefixtures("without_torch")
def test_an_environment_without_torch_is_explained(lab: Lab) -> None:
    explained(lab, "torch-missing")


PLAIN = [
    *("broken-library", "broken-library--extension", "broken-library--torchvision"),
    *("checkpoint-device", "collective-mismatch--sizes", "ddp-device-ids", "launcher-killed"),
    *("mixed-devices", "not-permitted", "shared-memory", "system-library", "tensor-off-backend"),
    *("too-many-files--workers", "worker-crashed", "worker-killed"),
]


@pytest.mark.parametrize("name", PLAIN)
def test_what_needs_no_more_than_a_container_is_explained(lab: Lab, name: str) -> None:
    explained(lab, name)


LEAVES = """
import torch.distributed as dist
dist.init_process_group("nccl")
"""
GUESSES = """
import torch.distributed as dist
dist.init_process_group("nccl")
try:
    dist.barrier()
except dist.DistBackendError:  # this card cannot send anything
    print("went on")
dist.destroy_process_group()
"""


@pytest.mark.parametrize(
    ("code", "script"), [("not-destroyed", LEAVES), ("device-guessed", GUESSES)]
)
def test_what_nccl_warns_of_is_remarked_on(lab: Lab, code: str, script: str) -> None:
    lab.ok(f"cat > {code}.py <<'END'\n{script}\nEND")
    text, run = lab.log(lab.launch(f"{code}.py", environment=CARD))
    assert (run["state"], run["diagnosis"]) == ("succeeded", None), text
    assert [one["code"] for one in run["remarks"]] == [code], text
