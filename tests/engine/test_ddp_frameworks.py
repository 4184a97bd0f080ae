"""Lightning, Accelerate and Transformers' Trainer launch unchanged through the REST interface.

The packages are installed as a participant installs them, with pip in a terminal, into their own
environment, from wheels that the set-up of the tests has fetched; models are built from
configurations, so no hub of models is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from lab_server import LabServer
from participant_files import install, put

HERE = Path(__file__).parent / "ddp_frameworks"

pytestmark = pytest.mark.timeout(900)  # the first counts the installation


@pytest.fixture(scope="module")
def lab(engine: docker.DockerClient, image: str) -> Iterator[LabServer]:
    with LabServer.serving(engine, image) as server:
        server.ok("mkdir frameworks")
        for path in HERE.iterdir():
            if path.is_file():
                put(server, path, f"frameworks/{path.name}")
        install(server, "accelerate lightning transformers")
        yield server


def launch(lab: LabServer, script: str, *arguments: str) -> tuple[str, dict[str, Any]]:
    """The whole log, and the run after its end."""
    body = {"script": f"frameworks/{script}", "arguments": list(arguments), "processes": 2}
    status, plan = lab.ask("POST", "gpucamp/ddp/plan", body)
    assert status == 200, plan
    # These set up the process group, the sampler and the device themselves.
    about_the_script = {one["code"] for one in plan["warnings"]} - {"shm", "disk", "other-runs"}
    assert about_the_script == set()
    status, run = lab.ask("POST", "gpucamp/ddp/runs", body)
    assert status == 201, run
    status, events = lab.ask("GET", f"gpucamp/ddp/runs/{run['id']}/log")
    assert status == 200 and events[-1]["event"] == "end"
    return "".join(event["text"] for event in events[:-1]), events[-1]["run"]


SCRIPTS = [
    ("lightning_fit.py", "--devices", "2"),
    ("accelerate_loop.py",),
    ("transformers_trainer.py", "--output_dir", "trained", "--report_to", "none"),
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script[0])
def test_two_processes_train_together(lab: LabServer, script: tuple[str, ...]) -> None:
    text, run = launch(lab, *script)
    assert (run["state"], run["diagnosis"]) == ("succeeded", None), text
    assert text.count("world=2") == 1, text  # rank 0 alone says it, and sees both
    assert run["ranks"] == [0, 1]


def test_lightning_that_counts_its_devices_is_explained(lab: LabServer) -> None:
    text, run = launch(lab, "lightning_fit.py")
    assert (run["state"], run["diagnosis"]["code"]) == ("failed", "lightning-devices"), text
    assert "Trainer(devices=2, num_nodes=1)" in run["diagnosis"]["fix"]


@pytest.mark.parametrize(
    ("script", "error", "rank"),
    [
        (("lightning_fit.py", "--devices", "2", "--fail"), "IndexError: Target 7 is out", None),
        (("accelerate_loop.py", "--fail"), "ValueError: the validation set is empty", 1),
        (
            ("transformers_trainer.py", "--output_dir", "out", "--bacth_size", "1"),
            "ValueError: Some specified arguments are not used by the HfArgumentParser",
            None,
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_the_scripts_own_error_is_named(
    lab: LabServer, script: tuple[str, ...], error: str, rank: int | None
) -> None:
    text, run = launch(lab, *script)
    assert run["state"] == "failed", text
    assert error in run["diagnosis"]["cause"]
    assert rank is None or run["diagnosis"]["rank"] == rank
