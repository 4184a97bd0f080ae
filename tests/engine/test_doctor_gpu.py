"""The real torch at a card that is a stand-in: the functions of CUDA's runtime that torch calls are
tests/fakes/libcudart.c's, below them NVML and libcuda as in test_doctor_card.py.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import pytest
from doctor_patient import DRIVER, NO_GPU, RUNTIME, STATE, UUID, Patient, after, look, world

pytestmark = pytest.mark.timeout(300)

GIB = 2**30
FULL = {"memory_total": 40 * GIB, "memory_used": 39 * GIB}
HOLDER = "/tmp/holder.json"
# what Jupyter does with a kernel: to run a cell in it; to shut it down
TALK = f"""
import sys
from jupyter_client import BlockingKernelClient
client = BlockingKernelClient(connection_file="{HOLDER}")
client.load_connection_file()
client.start_channels()
client.wait_for_ready(timeout=60)
if sys.argv[1:]:
    reply = client.execute(sys.argv[1], reply=True, timeout=60)["content"]
    assert reply["status"] == "ok", reply
else:
    client.shutdown(reply=True, timeout=60)
client.stop_channels()
"""
# while the kernel lives, the card's memory is full
HOLD = f"""
import atexit, json, pathlib
state, full = pathlib.Path("{STATE}"), pathlib.Path("/tmp/full")
before = state.read_text()
now = json.loads(before)
now["devices"][0] |= {FULL}
state.write_text(json.dumps(now))
full.touch()
atexit.register(lambda: (state.write_text(before), full.unlink()))
"""


@pytest.mark.parametrize(
    ("device", "settings", "codes"),
    [
        ({}, {}, set()),
        ({}, {"FAKE_CUDART_CAPABILITY": "6.1"}, {"GC143"}),
        ({"mig_devices": []}, {"FAKE_CUDART_LAUNCH": "46"}, {"GC145", "GC156"}),
        ({}, {"FAKE_CUDART_LAUNCH": "214"}, {"GC146"}),
    ],
)
def test_torch_at_a_card(
    card: Patient, device: dict[str, Any], settings: dict[str, str], codes: set[str]
) -> None:
    examined = look(card, device=device, LD_PRELOAD=RUNTIME, **settings)
    assert examined.codes == codes, examined
    torch = examined.report["facts"]["torch"]["value"]["torch"]
    assert torch["available"] is True and torch["count"] == 1


def test_kernels_that_hold_the_memory_are_shut_down(card: Patient) -> None:
    """A real kernel, which takes the card's memory and gives it back when it is shut down."""
    env = world(card, LD_PRELOAD=RUNTIME)
    card.ok(f"setsid -f python -m ipykernel_launcher -f {HOLDER} >/dev/null 2>&1 </dev/null")
    card.ok(f"timeout 60 sh -c 'until [ -s {HOLDER} ]; do sleep 0.05; done'")
    talk = f"/opt/gpucamp/base/bin/python -c {shlex.quote(TALK)}"
    card.ok(f"{talk} {shlex.quote(HOLD)}")
    allocating = {**env, "FAKE_CUDART_FULL": "/tmp/full"}
    for settings, code in ((allocating, "GC144"), (env, "GC148")):
        examined = card.examine(settings)
        assert examined.codes == {code}, examined
        assert examined.findings[code]["repair"]["kind"] == "kernels"
        assert "39.0 GiB of 40.0 GiB" in examined.findings[code]["title"].replace(" are in use", "")
    card.ok(talk)
    card.ok("timeout 60 sh -c 'while [ -e /tmp/full ]; do sleep 0.05; done'")
    assert card.examine(allocating).codes == set()


def test_a_variable_that_hides_one_card_of_two(card: Patient) -> None:
    other = {"uuid": UUID.replace("8932", "8933"), "name": "NVIDIA A100-SXM4-40GB"}
    env = world(
        card,
        more=[other],
        GPUCAMP_DEVICES=f"{UUID},{other['uuid']}",
        CUDA_VISIBLE_DEVICES="0",
        LD_PRELOAD=RUNTIME,
        FAKE_CUDART_COUNT="2",
    )
    examined = card.examine(env)
    assert examined.codes == {"GC142"}, examined
    assert after(card, examined, "GC142", env).codes == set()


def test_torch_sees_fewer_cards_than_there_are(card: Patient) -> None:
    other = {"uuid": UUID.replace("8932", "8933"), "name": "NVIDIA A100-SXM4-40GB"}
    examined = look(card, more=[other], LD_PRELOAD=RUNTIME)
    # torch itself trips over it: it counts by NVML, and begins to use what CUDA does not have
    assert examined.codes == {"GC106", "GC142", "GC147"}, examined
    assert "1 of the 2" in examined.findings["GC142"]["title"]


def test_how_full_the_memory_is_is_not_known_without_nvml(card: Patient) -> None:
    examined = look(card, LD_PRELOAD=RUNTIME, LD_LIBRARY_PATH=DRIVER)
    assert examined.codes == {"GC121"}, examined
    assert "gpus_compute" in examined.report["checks_unexamined"]


def test_what_the_card_says_of_its_memory_and_its_parts(card: Patient) -> None:
    parts = [
        {"uuid": f"MIG-0d6dbcb1-0000-4000-8000-00000000000{number}", "name": "MIG 1g.5gb"}
        for number in (1, 2)
    ]
    ill = {"remapped_rows": {"pending": 1}, "ecc": {"mode": 1, "uncorrected": 3}}
    env = world(
        card,
        device={**ill, "mig_devices": parts},
        CUDA_VISIBLE_DEVICES=f"{UUID},7",
        LD_PRELOAD=RUNTIME,
    )
    examined = card.examine(env)
    assert examined.codes == {"GC154", "GC155", "GC223"}, examined
    assert "3 uncorrectable" in examined.findings["GC154"]["title"]
    assert parts[1]["uuid"] in examined.findings["GC155"]["evidence"]
    assert after(card, examined, "GC223", env).codes == {"GC154", "GC155"}


@pytest.mark.skipif(
    not Path("/dev/nvidia0").exists(),
    reason="NOT RUN: this host has no NVIDIA card (/dev/nvidia0)",
)
def test_the_untouched_image_with_a_real_card_is_healthy(
    make_patient: Callable[..., Patient],
) -> None:
    """With the one of test_performance.py, the only test of this level that needs a card."""
    listed = subprocess.run(
        ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"],  # noqa: S607
        check=True,
        capture_output=True,
        text=True,
    )
    uuid = os.environ.get("GPUCAMP_TEST_GPU") or listed.stdout.splitlines()[0].strip()
    request = docker.types.DeviceRequest(device_ids=[uuid], capabilities=[["gpu"]])
    given = {**NO_GPU, "GPUCAMP_DEVICES": uuid}
    examined = make_patient(given, device_requests=[request]).examine()
    assert {f["severity"] for f in examined.report["findings"]} <= {"advice"}, examined
    assert "gpus_compute" in examined.report["checks_passed"]
