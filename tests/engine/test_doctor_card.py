"""A card that is not there, or fails: nodes, NVML and libcuda are stand-ins (doctor_patient.py)."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from doctor_patient import (
    CARD,
    DRIVER,
    FAKE_CUDA,
    NODES,
    PRACTICE,
    PRACTICE_LIB,
    RUNTIME,
    VENV,
    Examined,
    Patient,
    after,
    kernel,
    look,
    with_driver,
    world,
)

pytestmark = pytest.mark.timeout(300)


@pytest.mark.fault(20)
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"faults": {"nvmlInit": 18}}, "GC124"),
        ({"faults": {"nvmlInit": 9}}, "GC125"),
        ({"device": {"faults": {"nvmlDeviceGetMemoryInfo": 15}}}, "GC126"),
        ({"faults": {"nvmlInit": {"error": 0, "sleep": 600}}}, "GC122"),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, "GC128"),
        ({"CUDA_VISIBLE_DEVICES": ""}, "GC128"),
        ({"CUDA_VISIBLE_DEVICES": "1"}, "GC128"),
        ({"FAKE_CUDA_INIT": "803"}, "GC134"),
        ({"FAKE_CUDA_INIT": "802"}, "GC136"),
        ({"FAKE_CUDA_CRASH": "1"}, "GC139"),
        ({"FAKE_CUDA_VERSION": "11080"}, "GC132"),
        ({"LD_LIBRARY_PATH": PRACTICE_LIB}, "GC131"),
        # CUDA starts, and torch's own runtime then meets a driver that can do nothing
        ({}, "GC141"),
    ],
)
def test_a_card_that_fails(card: Patient, arguments: dict[str, Any], code: str) -> None:
    examined = look(card, **arguments)
    assert examined.codes == {code}, examined
    assert examined.status == 2


def test_a_card_that_ails(card: Patient) -> None:
    examined = look(
        card,
        device={"uuid": "GPU-another", "recovery_action": 1, "compute_mode": 2},
        FAKE_CUDA_INIT="100",
    )
    assert examined.codes == {"GC106", "GC127", "GC129", "GC133"}, examined
    examined = look(card, LD_LIBRARY_PATH=DRIVER, FAKE_CUDA_INIT="100")
    assert examined.codes == {"GC121", "GC133"}, examined


@pytest.mark.fault(20)
def test_cuda_that_hangs_is_told_in_time(card: Patient) -> None:
    examined = look(card, FAKE_CUDA_SLEEP="600")
    assert "GC137" in examined.codes, examined
    assert examined.report["seconds"] < 90
    assert "run_probe.py" not in card.ok("ps -eo args")


@pytest.fixture(scope="module")
def server(make_patient: Callable[..., Patient]) -> Patient:
    """A server of its own for those that start it again: each test gives it its container."""
    return with_driver(make_patient(CARD))


def a_restart_mends(server: Patient, examined: Examined, *codes: str) -> None:
    """As these findings offer: the server is stopped and started, and gets its GPU again."""
    for code in codes:
        assert examined.findings[code]["repair"]["kind"] == "restart"
    server.start(CARD, devices=NODES)
    assert look(server, LD_PRELOAD=RUNTIME).codes == set()


@pytest.mark.fault(20)
@pytest.mark.parametrize(
    ("variables", "settings", "codes"),
    [
        ({}, {"faults": {"nvmlInit": 999}}, ("GC123",)),
        ({}, {"faults": {"nvmlInit": 15}}, ("GC126",)),
        (
            {"FAKE_CUDART_INIT": "999"},
            {"device": {"uuid": "GPU-another"}, "LD_PRELOAD": RUNTIME},
            ("GC106", "GC141"),
        ),
        ({"FAKE_CUDART_LAUNCH": "719"}, {"LD_PRELOAD": RUNTIME}, ("GC147",)),
        (
            {"FAKE_CUDA_INIT": "100"},
            {"device": {"faults": {"nvmlDeviceGetMemoryInfo": 999}}},
            ("GC133", "GC151"),
        ),
        ({"FAKE_CUDA_INIT": "999"}, {}, ("GC139",)),
        ({"FAKE_CUDART_LAUNCH": "crash"}, {"LD_PRELOAD": RUNTIME}, ("GC149",)),
    ],
)
def test_a_container_whose_card_fails_is_left_for_a_new_one(
    server: Patient, variables: dict[str, str], settings: dict[str, Any], codes: tuple[str, ...]
) -> None:
    """What fails is of this container: its variables, and what its NVML reads in its /tmp."""
    server.start({**CARD, **variables}, devices=NODES)
    examined = look(server, **settings)
    assert examined.codes == set(codes), examined
    a_restart_mends(server, examined, *codes)


@pytest.mark.parametrize(
    ("devices", "code"),
    [([], "GC102"), (NODES[:2], "GC105"), ([NODES[0], NODES[2]], "GC105")],
)
def test_device_nodes(server: Patient, devices: list[str], code: str) -> None:
    examined = server.start(CARD, devices=devices).examine()
    assert examined.codes == {code}, examined
    if devices != NODES[:2]:
        a_restart_mends(server, examined, code)


@pytest.mark.parametrize(
    ("number", "permissions", "code"),
    [
        # FUSE's number, which a container may not open unless it is told so
        ((10, 229), "m", "GC103"),
        # a number that no driver of this host has
        ((510, 255), "rw", "GC104"),
    ],
)
def test_a_node_that_cannot_be_opened(
    server: Patient,
    tmp_path: Path,
    number: tuple[int, int],
    permissions: str,
    code: str,
) -> None:
    node = tmp_path / "nvidiactl"
    os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(*number))
    node.chmod(0o666)
    devices = [NODES[0], f"{node}:/dev/nvidiactl:{permissions}", NODES[2]]
    examined = server.start(CARD, devices=devices).examine()
    assert examined.codes == {code}, examined
    if code == "GC103":
        a_restart_mends(server, examined, code)


def test_a_variable_that_hides_the_card_goes_where_it_is_set(card: Patient) -> None:
    """In a kernel's settings; in a start-up file of the shell."""
    env = world(card, LD_PRELOAD=RUNTIME)
    kernel(card, "hiding", f"{VENV}/bin/python", CUDA_VISIBLE_DEVICES="-1")
    said, before, found = card.mend("GC128", env, "hiding")
    assert "$ gpucamp-doctor --kernel hiding --repair GC128\n" in said
    assert (before, found) == ({"GC128"}, set()), said
    card.ok("echo export CUDA_VISIBLE_DEVICES= >> ~/.bashrc")
    terminal = {**env, "CUDA_VISIBLE_DEVICES": ""}  # as .bashrc sets it
    said, before, found = card.mend("GC128", terminal)
    assert "$ sed -i.before " in said
    assert (before, found) == ({"GC128"}, set()), said
    assert card.ok("CUDA_VISIBLE_DEVICES=0; . ~/.bashrc; echo $CUDA_VISIBLE_DEVICES") == "0\n"


def test_another_libcuda_before_the_drivers_own(card: Patient) -> None:
    """The toolkit's stub, by a kernel's settings; its compatibility library, by the terminal."""
    for folder, answer in (("stubs", 34), ("compat", 804)):
        card.write("/tmp/libcuda.c", FAKE_CUDA.read_text())
        card.ok(
            f"mkdir -p /tmp/cuda/{folder} && gcc -shared -fPIC -DINIT={answer} "
            f"-o /tmp/cuda/{folder}/libcuda.so.1 /tmp/libcuda.c"
        )
    env = world(card, LD_PRELOAD=RUNTIME)
    drivers = env["LD_LIBRARY_PATH"]
    stubs = f"/tmp/cuda/stubs:{drivers}"
    kernel(card, "toolkit", f"{VENV}/bin/python", LD_LIBRARY_PATH=stubs)
    said, before, found = card.mend("GC130", env, "toolkit")
    assert "library (error 34): /tmp/cuda/stubs/libcuda.so.1" in said
    assert "$ gpucamp-doctor --kernel toolkit --repair GC130\n" in said
    assert (before, found) == ({"GC130", "GC212"}, set()), said

    terminal = {**env, "LD_LIBRARY_PATH": f"/tmp/cuda/compat:{drivers}"}
    examined = card.examine(terminal)
    assert examined.codes == {"GC135", "GC212"}, examined
    # what is the image's and the driver's own stays
    assert examined.findings["GC135"]["command"] == f"export LD_LIBRARY_PATH={drivers}"
    assert after(card, examined, "GC135", terminal).codes == set()


def test_a_kernel_may_set_library_paths_and_hide_a_practice_card(
    make_patient: Callable[..., Patient],
) -> None:
    own = {"LD_LIBRARY_PATH": "/usr/local/cuda-11/lib64", "CUDA_VISIBLE_DEVICES": "-1"}
    patient = make_patient(PRACTICE)
    examined = patient.examine(own)
    assert examined.codes == {"GC109", "GC128"}, examined
    assert after(patient, examined, "GC128", own).codes == {"GC109"}


def test_a_practice_card_that_fails_is_told(make_patient: Callable[..., Patient]) -> None:
    patient = make_patient(PRACTICE)
    patient.write("/tmp/card.json", json.dumps({"faults": {"nvmlInit": 999}, "devices": []}))
    examined = patient.examine({"GPUCAMP_PRACTICE_FILE": "/tmp/card.json"})
    assert examined.codes == {"GC123"}, examined
    assert examined.findings["GC123"]["repair"]["kind"] == "restart"
