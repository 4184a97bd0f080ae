"""The doctor's verdicts in the real image: what it could not look at is told, and what works is no
illness. The card is a stand-in (doctor_patient.py).
"""

from __future__ import annotations

from typing import Any

import pytest
from doctor_patient import SITE, Patient, install, look

pytestmark = pytest.mark.timeout(300)

# ends the probe whose name it was built with, before it says anything
KILLER = """
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
__attribute__((constructor)) static void kill_probe(void) {
    char line[4096];
    int fd = open("/proc/self/cmdline", O_RDONLY);
    long size = read(fd, line, sizeof line), at = 0, seen = 0;
    close(fd);
    for (; at < size; at += strlen(line + at) + 1) {
        if (strstr(line + at, "run_probe.py")) seen = 1;
        else if (seen && !strcmp(line + at, PROBE)) _exit(7);
    }
}
"""


def kill_probe(patient: Patient, name: str) -> dict[str, str]:
    """An environment in which this probe dies."""
    patient.write("/tmp/killer.c", KILLER)
    # the name of a harmless library: that it is preloaded is no finding, then
    library = "/tmp/libmimalloc.so"
    patient.ok(f"gcc -shared -fPIC -DPROBE='\"{name}\"' -o {library} /tmp/killer.c")
    return {"LD_PRELOAD": library}


@pytest.mark.parametrize(
    ("probe", "code"), [("packages", "GC901"), ("resources", "GC902"), ("system", "GC902")]
)
def test_a_probe_that_dies_is_told_and_nothing_is_called_well(
    patient: Patient, probe: str, code: str
) -> None:
    env = kill_probe(patient, probe)
    examined = patient.examine(env)
    assert examined.codes == {"GC101", code}, examined
    assert examined.status == 1 and examined.report["verdict"] == "degraded"
    assert f"{probe} (crashed)" in examined.findings[code]["title"]
    assert examined.report["checks_unexamined"]
    status, out, _ = patient.run("gpucamp-doctor", env)
    assert status == 1 and code in out
    assert patient.examine().codes == {"GC101"}


def test_a_python_that_hangs_is_told_once(patient: Patient) -> None:
    patient.ok(f"echo 'import time; time.sleep(600)' > {SITE}/x.pth")
    examined = patient.examine()
    assert examined.codes == {"GC101", "GC203"}, examined
    assert "user_site_is_unused" in examined.report["checks_unexamined"]


@pytest.mark.fault(20)
@pytest.mark.parametrize(
    ("arguments", "code", "who"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0,0"}, "GC128", "you"),
        ({"CUDA_VISIBLE_DEVICES": "MIG-bogus"}, "GC128", "you"),
        ({"init": 3}, "GC139", "instructor"),
        ({"init": 304}, "GC139", "instructor"),
    ],
)
def test_who_can_mend_a_card(card: Patient, arguments: dict[str, Any], code: str, who: str) -> None:
    settings = dict(arguments)
    init = settings.pop("init", None)
    if init is not None:
        settings["FAKE_CUDA_INIT"] = str(init)
    examined = look(card, **settings)
    assert examined.codes == {code}, examined
    assert examined.findings[code]["who"] == who


@pytest.mark.parametrize(("version", "code"), [("2.9.1+cu130", "GC301"), ("2.9.1+cu126", "GC307")])
def test_another_build_of_the_same_torch(patient: Patient, version: str, code: str) -> None:
    install(patient, "torch", version, marker="")
    examined = patient.examine()
    assert examined.codes == {"GC101", code}, examined
    patient.ok(examined.findings[code]["command"])
    assert patient.examine().codes == {"GC101"}


def test_an_allocator_that_is_preloaded_is_no_illness(patient: Patient) -> None:
    patient.ok("echo 'int x;' | gcc -shared -fPIC -x c -o /tmp/libjemalloc.so.2 -")
    assert patient.examine({"LD_PRELOAD": "/tmp/libjemalloc.so.2"}).codes == {"GC101"}
