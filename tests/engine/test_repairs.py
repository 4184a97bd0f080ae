"""What the doctor offers mends what it found: in the real image, through the real server."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from lab_server import LabServer

REPAIRS = "gpucamp/doctor/repairs"
SITE = "/home/jovyan/.venv/lib/python3.11/site-packages"
KERNELS = "/home/jovyan/.local/share/jupyter/kernels"
HEALTHY = {"GC109", "GC168"}  # a practice device, and lab_server.py's service is down

pytestmark = pytest.mark.timeout(300)


def install(lab: LabServer, name: str, version: str, **modules: str) -> None:
    """A package as pip leaves it, with these modules."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/INSTALLER": "pip\n",
        **{f"{module}.py": text for module, text in modules.items()},
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    for path, text in files.items():
        target = shlex.quote(f"{SITE}/{path}")
        lab.ok(f"mkdir -p $(dirname {target}) && printf %s {shlex.quote(text)} > {target}")


def examine(lab: LabServer, kernel: str = "python3") -> set[str]:
    status, events = lab.ask("POST", "gpucamp/doctor/examinations", {"kernel": kernel})
    assert status == 200, events
    return {finding["code"] for finding in events[-1]["report"]["findings"]}


def mend(lab: LabServer, code: str) -> set[str]:
    """Apply what is offered for a code of the last examination; the codes found afterwards."""
    status, answer = lab.ask("GET", REPAIRS)
    assert status == 200, answer
    (repair,) = [each for each in answer["repairs"] if each["code"] == code]
    assert repair["kind"] == "here", repair
    consent: dict[str, Any] = {"code": code, "command": repair["command"]}
    status, events = lab.ask("POST", REPAIRS, consent)
    assert status == 200, events
    assert code in [event.get("code") for event in events if event["event"] == "repaired"], events
    return {finding["code"] for finding in events[-1]["report"]["findings"]}


def test_a_package_that_breaks_torch_is_taken_out(lab: LabServer) -> None:
    healthy = examine(lab)
    assert healthy == HEALTHY
    lab.ok(f"rm -rf {SITE}/pip {SITE}/pip-*")  # it does not need the environment's own pip
    install(lab, "typing_extensions", "4.0.0", typing_extensions="x = 1")
    found = examine(lab)
    assert "GC311" in found
    assert mend(lab, "GC311") == healthy
    assert lab.ok("python -c 'import torch; print(torch.__version__)'").startswith("2.9.1")


def test_another_torch_and_its_libraries_go_in_one_go(lab: LabServer) -> None:
    install(lab, "torch", "2.14.0")
    install(lab, "triton", "3.6.0")
    install(lab, "nvidia-cudnn-cu13", "9.13.0")
    assert "GC301" in examine(lab)
    assert mend(lab, "GC301") == HEALTHY


def test_what_programs_left_behind(lab: LabServer) -> None:
    lab.ok(
        "echo x > /dev/shm/torch_left; "
        "TORCHELASTIC_RUN_ID=x LOCAL_RANK=0 setsid -f python -c 'import time; time.sleep(600)'; "
        "sleep 1",
    )
    assert {"GC403", "GC411"} <= examine(lab)
    assert "GC411" not in mend(lab, "GC411")
    assert mend(lab, "GC403") == HEALTHY
    assert lab.sh("pgrep -f time.sleep")[0] == 1
    assert lab.sh("ls /dev/shm/torch_left")[0] != 0


def test_a_variable_in_a_kernels_settings(lab: LabServer) -> None:
    spec = {
        "argv": [
            "/home/jovyan/.venv/bin/python",
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
        ],
        "display_name": "mine",
        "language": "python",
        "env": {"LD_LIBRARY_PATH": "/tmp/cuda:/opt/gpucamp/practice/lib"},
    }
    lab.ok(
        f"mkdir -p {KERNELS}/mine /tmp/cuda; touch /tmp/cuda/libcudart.so.12; "
        f"printf %s {shlex.quote(json.dumps(spec))} > {KERNELS}/mine/kernel.json",
    )
    assert "GC212" in examine(lab, "mine")
    assert mend(lab, "GC212") == HEALTHY
    assert json.loads(lab.ok(f"cat {KERNELS}/mine/kernel.json"))["env"] == {}


def test_packages_outside_the_environment_are_set_aside(lab: LabServer) -> None:
    spec = {
        "argv": ["/usr/bin/python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "system",
        "language": "python",
        "env": {"PYTHONNOUSERSITE": ""},
    }
    site = "/home/jovyan/.local/lib/python3.11/site-packages"
    lab.ok(
        f"mkdir -p {KERNELS}/mine {site}/rich-1.0.dist-info; "
        f"printf %s {shlex.quote(json.dumps(spec))} > {KERNELS}/mine/kernel.json",
    )
    found = examine(lab, "mine")
    assert "GC211" in found
    assert mend(lab, "GC211") == found - {"GC211"}
    assert "site-packages.set-aside-" in lab.ok("ls " + site.rpartition("/")[0])
