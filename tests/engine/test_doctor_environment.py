"""The kernel, its environment and its packages, broken in the real image."""

from __future__ import annotations

import json
import shlex

import pytest
from doctor_patient import SITE, VENV, Examined, Patient, install

pytestmark = pytest.mark.timeout(300)


def test_a_package_that_breaks_torch_is_named_and_its_fix_heals(patient: Patient) -> None:
    install(patient, "typing_extensions", "4.0.0", typing_extensions="ParamSpec = None")
    install(patient, "innocent", "1.0", innocent="")
    status, _, err = patient.run("python -c 'import torch'")
    assert status == 1 and "ImportError" in err
    examined = patient.examine()
    assert examined.status == 2
    finding = examined.findings["GC311"]
    assert finding["severity"] == "blocker" and finding["who"] == "you"
    ask = "from importlib.metadata import version; print(version('typing_extensions'))"
    base = patient.ok(f"/opt/gpucamp/base/bin/python -Ic {shlex.quote(ask)}").strip()
    assert "typing_extensions 4.0.0" in finding["title"] and base in finding["title"]
    assert "innocent" not in json.dumps(finding)
    assert any("cannot import name" in line for line in finding["evidence"])
    mended_by = f"--python {VENV}/bin/python uninstall --yes typing_extensions"
    assert finding["command"].endswith(mended_by)
    patient.ok(finding["command"])
    assert patient.examine().codes == {"GC101"}


def test_a_module_that_hangs_or_crashes_on_import_is_named(patient: Patient) -> None:
    """Even where the import says nothing at all."""
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    install(patient, "typing_extensions", "9.9", typing_extensions=crash)
    examined = patient.examine()
    assert "typing_extensions 9.9" in examined.findings["GC311"]["title"], examined
    assert any("SIGSEGV" in line for line in examined.findings["GC311"]["evidence"])


def test_a_package_that_keeps_kernels_from_starting_is_named(patient: Patient) -> None:
    install(patient, "traitlets", "1.0", traitlets="raise RuntimeError('too old')")
    examined = patient.examine()
    assert examined.codes == {"GC101", "GC205"}, examined
    assert "traitlets 1.0" in examined.findings["GC205"]["title"]
    patient.ok(examined.findings["GC205"]["command"])
    assert patient.examine().codes == {"GC101"}


def test_two_packages_that_break_torch_together_are_both_named(patient: Patient) -> None:
    install(patient, "typing_extensions", "4.0.0", typing_extensions="")
    install(patient, "torchgen", "0.1", torchgen="")
    for number in range(9):
        install(patient, f"innocent{number}", "1.0", **{f"innocent{number}": ""})
    examined = patient.examine()
    title = examined.findings["GC311"]["title"]
    assert "typing_extensions 4.0.0" in title and "torchgen 0.1" in title, examined
    assert "innocent" not in title
    patient.ok(examined.findings["GC311"]["command"])
    assert patient.examine().codes == {"GC101"}


def test_a_stray_file_that_breaks_torch_is_named(patient: Patient) -> None:
    patient.write(f"{SITE}/typing_extensions.py", "raise ImportError('edited by hand')")
    examined = patient.examine()
    assert "typing_extensions" in examined.findings["GC311"]["title"], examined
    assert any(SITE in line for line in examined.findings["GC311"]["evidence"])
    command = examined.findings["GC311"]["command"]
    assert command == f"mv -n {SITE}/typing_extensions.py {SITE}/typing_extensions.py.set-aside"
    said = patient.ok("gpucamp-doctor --repair GC311 --yes")
    assert "GC311 is mended." in said and f"$ {command}" in said
    assert patient.examine().codes == {"GC101"}
    kept = patient.ok(f"cat {SITE}/typing_extensions.py.set-aside-*")
    assert "edited by hand" in kept


UNLINKED = f"rm {SITE}/gpucamp-base.pth"
ABORTS = f"echo 'import os; os.abort()' > {SITE}/x.pth"
# after these, the reset that is offered is carried out: codes GC202, GC203, GC204
RESET = (f"rm -r {VENV}", ABORTS, UNLINKED)


@pytest.mark.parametrize(
    ("breakage", "code"),
    [
        (f"rm {VENV}/bin/python {VENV}/bin/python3*", "GC202"),
        (f"rm -r {VENV}", "GC202"),
        (f"ln -sf /gone/python {VENV}/bin/python", "GC202"),
        (f"echo 'import os; os._exit(3)' > {SITE}/x.pth", "GC203"),
        (f"echo 'import time; time.sleep(600)' > {SITE}/x.pth", "GC203"),
        (ABORTS, "GC203"),
        (UNLINKED, "GC312"),
    ],
)
def test_an_environment_that_does_not_start(patient: Patient, breakage: str, code: str) -> None:
    patient.ok(breakage)
    examined = patient.examine()
    expected = {"GC101", code} | ({"GC204"} if code == "GC312" else set())
    assert examined.codes == expected, examined
    assert examined.status == 2
    if breakage in RESET:
        patient.ok("echo kept > ~/work/mine")
        for each in expected - {"GC101"}:
            assert examined.findings[each]["repair"]["kind"] == "packages"
        assert patient.remove_packages().examine().codes == {"GC101"}
        assert patient.ok("cat ~/work/mine") == "kept\n"


def test_garbage_from_start_up_code_is_not_taken_for_facts(patient: Patient) -> None:
    line = "import sys; print('hello ' * 1000); print('world', file=sys.stderr)"
    patient.write(f"{SITE}/x.pth", line)
    assert patient.ok("python -c ''").startswith("hello")
    assert patient.examine().codes == {"GC101"}


def test_many_illnesses_at_once_are_all_told(patient: Patient) -> None:
    install(patient, "torch", "2.14.0", marker="")
    install(patient, "triton", "3.6.0", marker2="")
    install(patient, "nvidia_cublas_cu11", "11.11.3.6", marker3="")
    install(patient, "nvidia_cudnn_cu12", "9.99.0.1", marker4="")
    patient.ok(f"mkdir {SITE}/numpy-1.26.0.dist-info {SITE}/numpy-2.0.0.dist-info")
    patient.ok("mkdir -p /tmp/old/numpy-1.0.dist-info /tmp/cuda")
    patient.ok("ln -s /x /tmp/cuda/libcudart.so.12")
    patient.ok("echo > ~/work/torch.py; touch /dev/shm/torch_123 /dev/shm/nccl-abc /dev/shm/mine")
    patient.ok("fallocate -l $(($(df --output=avail -B1 /dev/shm | tail -1) - 4096)) /dev/shm/mine")
    patient.ok(
        "(TORCHELASTIC_RUN_ID=x LOCAL_RANK=0 nohup python -c 'import time; time.sleep(600)' "
        ">/dev/null 2>&1 &)"
    )
    env = {
        "PYTHONPATH": "/tmp/old",
        "LD_PRELOAD": "/gone/libjemalloc.so",
        "LD_LIBRARY_PATH": "/tmp/cuda",
        "PATH": f"{VENV}/bin:/opt/gpucamp/base/bin:/bin-without-gcc",
    }
    status, out, err = patient.run(
        "ulimit -n 512; exec /opt/gpucamp/base/bin/gpucamp-doctor --json", env
    )
    assert status in (1, 2), out + err
    examined = Examined(status, json.loads(out))
    assert examined.codes == {
        "GC101",
        "GC212",
        "GC213",
        "GC214",
        "GC215",
        "GC301",
        "GC304",
        "GC305",
        "GC306",
        "GC402",
        "GC403",
        "GC408",
        "GC410",
        "GC411",
    }, examined
    # their fixes, as they are shown, where they are commands for this terminal
    patient.ok(examined.findings["GC411"]["command"])
    patient.ok(examined.findings["GC403"]["command"])
    patient.ok("rm /dev/shm/mine ~/work/torch.py; rm -r " + f"{SITE}/numpy-*.dist-info")
    for code in ("GC301", "GC304", "GC305"):
        patient.ok(examined.findings[code]["command"])
    assert patient.examine().codes == {"GC101"}


def test_a_kernel_of_the_system_with_a_user_site(patient: Patient) -> None:
    spec = {
        "argv": ["/usr/bin/python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "system",
        "language": "python",
        "env": {"PYTHONNOUSERSITE": ""},
    }
    patient.write("/home/jovyan/.local/share/jupyter/kernels/system/kernel.json", json.dumps(spec))
    site = "/home/jovyan/.local/lib/python3.11/site-packages"
    patient.ok(f"mkdir -p {site}/rich-1.0.dist-info")
    examined = patient.examine(options="--kernel system")
    assert examined.codes == {"GC101", "GC206", "GC210", "GC211", "GC312"}, examined
    # nothing can be installed there, and a reset would not change that
    assert examined.findings["GC210"]["command"] == ""
    assert examined.findings["GC312"]["repair"] is None
    spec["argv"] = ["sh", "-c", "true {connection_file}"]
    patient.write("/home/jovyan/.local/share/jupyter/kernels/system/kernel.json", json.dumps(spec))
    assert patient.examine(options="--kernel system").codes == {"GC101", "GC207"}
    patient.write("/home/jovyan/.local/share/jupyter/kernels/system/kernel.json", "{")
    assert patient.examine(options="--kernel system").codes == {"GC101", "GC201"}


def test_pythonpath_breaks_kernels_but_not_the_doctor(patient: Patient) -> None:
    for module in ("traitlets", "argparse", "jupyter_client"):
        patient.write(f"/tmp/bad/{module}.py", "raise RuntimeError('mine')")
    examined = patient.examine({"PYTHONPATH": "/tmp/bad"})
    assert "GC101" in examined.codes and examined.status == 2
    broken = examined.findings["GC231"]
    assert "RuntimeError: mine" in broken["evidence"]
    assert patient.examine().codes == {"GC101"}
