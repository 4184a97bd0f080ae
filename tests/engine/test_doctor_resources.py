"""Space, memory and limits of a real container."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from doctor_patient import Patient

pytestmark = pytest.mark.timeout(300)


def test_small_shared_memory(make_patient: Callable[..., Patient]) -> None:
    assert make_patient(shm_size="64m").examine().codes == {"GC101", "GC401"}


def test_full_disks(make_patient: Callable[..., Patient]) -> None:
    patient = make_patient(tmpfs={"/tmp": "exec,size=64m,nr_inodes=400"})
    patient.ok("cd /tmp && for i in $(seq 500); do : > f$i || break; done 2>/dev/null; true")
    assert patient.examine().codes == {"GC101", "GC407"}
    patient.ok("rm /tmp/f*; dd if=/dev/zero of=/tmp/big bs=1M count=62 2>/dev/null")
    assert patient.examine().codes == {"GC101", "GC406"}
    patient.ok("dd if=/dev/zero of=/tmp/big bs=1M count=80 2>/dev/null; true")
    assert patient.examine().codes == {"GC101", "GC405"}


FULL = 160 * 2**20  # bytes of the home


def test_a_full_home(make_patient: Callable[..., Patient]) -> None:
    """What pip keeps fills it: nearly, wholly (GC405, GC406), and with very many files (GC407)."""
    cache = "$HOME/.cache/pip/http-v2"
    patient = make_patient()
    patient.ok("tar -C ~ --exclude=./work -cf ~/work/home.tar .")
    patient.reset(home=f"size={FULL},nr_inodes=2000,uid=1000,gid=1000")
    patient.ok("tar -C ~ -xf ~/work/home.tar && rm ~/work/home.tar")
    left = "$(df --output=avail -B1 ~ | tail -1)"
    for code, fill in (
        ("GC406", f"fallocate -l $(({left} - {FULL} / 25)) {cache}/a"),
        ("GC405", f"fallocate -l $(({left} - 4096)) {cache}/a"),
        ("GC407", f"cd {cache} && for i in $(seq 3000); do : > f$i || break; done 2>/dev/null"),
    ):
        patient.run(f"mkdir -p {cache} && {fill}")
        # it examines, does what it shows, and examines again
        said = patient.ok(f"gpucamp-doctor --repair {code} --yes </dev/null")
        first, _, rest = said.partition(" -m pip cache purge")
        assert f"{code} The disk of /home/jovyan" in first and f"{code} is mended." in rest, said
        kept = json.loads(patient.ok("cat ~/work/.gpucamp/doctor-report.json"))
        assert [finding["code"] for finding in kept["findings"]] == ["GC101"], said


def test_full_shared_memory(patient: Patient) -> None:
    patient.ok("fallocate -l $(($(df --output=avail -B1 /dev/shm | tail -1) - 4096)) /dev/shm/mine")
    examined = patient.examine()
    assert examined.codes == {"GC101", "GC402"}, examined
    assert examined.findings["GC402"]["repair"]["kind"] == "restart"
    assert patient.start().examine().codes == {"GC101"}


def test_a_program_that_was_killed_for_memory(make_patient: Callable[..., Patient]) -> None:
    limits = {"mem_limit": "1500m", "memswap_limit": "1500m"}
    patient = make_patient(**limits)
    assert patient.examine().codes == {"GC101"}
    status, _, _ = patient.run("python -c 'b = bytearray(3 * 2**30)'")
    assert status == 137
    examined = patient.examine()
    assert examined.codes == {"GC101", "GC404"}, examined
    assert examined.findings["GC404"]["repair"]["kind"] == "restart"
    assert patient.start(**limits).examine().codes == {"GC101"}
