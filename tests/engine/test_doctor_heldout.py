"""Breakages around the image's own files: variables, what a kernel runs at its start, kernel.json.
One container for all of them; each test leaves it as it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from doctor_patient import SITE, VENV, Patient, after, install

pytestmark = pytest.mark.timeout(300)

KERNELS = "/home/jovyan/.local/share/jupyter/kernels"
STARTUP = "~/.ipython/profile_default/startup"
ARGV = [f"{VENV}/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]


@pytest.fixture(scope="module")
def shared(make_patient: Callable[..., Patient]) -> Patient:
    return make_patient()


@pytest.fixture
def patient(shared: Patient) -> Iterator[Patient]:
    yield shared
    strays = f"{SITE}/torch* {SITE}/ipykernel_launcher*"
    shared.ok(f"rm -rf ~/.ipython* ~/work/*.py {KERNELS} /tmp/bad /tmp/wheels {strays}")


def nothing_is_left(patient: Patient) -> None:
    """Of what the doctor started."""
    patient.ok("! pgrep -u 1000 python")
    assert "gpucamp" not in patient.ok("ls -A /tmp")


def test_variables(patient: Patient) -> None:
    env = {
        "HOME": "/tmp/elsewhere",
        "LC_ALL": "xx_YY",
        "MPLBACKEND": "TkAgg",
        "TORCH_LOGS": "nonsense",
    }
    found = ("GC236", "GC237", "GC238", "GC341")
    examined = patient.examine(env)
    assert examined.codes == {"GC101", *found}, examined
    assert "TORCH_LOGS=nonsense" in examined.findings["GC341"]["evidence"]
    before = "\n".join(examined.findings[code]["command"] for code in found)
    assert patient.examine(env, before=before).codes == {"GC101"}


def test_a_variable_that_keeps_kernels_from_starting(patient: Patient) -> None:
    patient.write("/tmp/bad/traitlets.py", "raise RuntimeError('mine')")
    env = {"PYTHONPATH": "/tmp/bad"}
    examined = patient.examine(env)
    assert examined.codes == {"GC101", "GC231"}, examined
    assert "RuntimeError: mine" in examined.findings["GC231"]["evidence"]
    assert after(patient, examined, "GC231", env).codes == {"GC101"}


def test_a_package_that_breaks_one_of_the_images(patient: Patient) -> None:
    install(patient, "pillow", "1.0", PIL="raise ImportError('too old')")
    examined = patient.examine()
    assert examined.codes == {"GC101", "GC342"}, examined
    title = examined.findings["GC342"]["title"]
    assert "matplotlib" in title and "pillow 1.0" in title
    patient.ok('test -z "$(ls /tmp | grep -v wheels)"')  # nor what the packages leave behind
    patient.ok(examined.findings["GC342"]["command"])
    assert patient.examine().codes == {"GC101"}


def test_a_folder_that_only_has_torchs_name(patient: Patient) -> None:
    patient.ok(f"mkdir {SITE}/torch && echo '__version__ = 1' > {SITE}/torch/__init__.py")
    examined = patient.examine()
    assert examined.codes == {"GC101", "GC311"}, examined
    patient.ok(examined.findings["GC311"]["command"])
    patient.ok("python -c 'import torch; torch.zeros(1)'")


def test_what_a_kernel_runs_at_its_start(patient: Patient) -> None:
    patient.ok(f"mkdir -p {STARTUP} && echo 'import os; os._exit(3)' > {STARTUP}/00.py")
    examined = patient.examine()
    assert examined.codes == {"GC101", "GC232"}, examined
    assert "00.py" in examined.findings["GC232"]["title"]
    assert "ended with status 3" in examined.findings["GC232"]["evidence"]
    nothing_is_left(patient)
    # one that does no harm, once the other is out of the way
    patient.ok(examined.findings["GC232"]["command"])
    patient.ok(f"mkdir -p {STARTUP} && echo 'import sys' > {STARTUP}/01.py")
    assert patient.examine().codes == {"GC101"}


def test_a_file_beside_a_notebook_that_keeps_kernels_from_starting(patient: Patient) -> None:
    patient.ok("echo 'raise RuntimeError(1)' > ~/work/re.py; touch ~/work/torch.py")
    examined = patient.examine()
    assert examined.codes == {"GC101", "GC233"}, examined
    assert "re.py" in examined.findings["GC233"]["title"]


def test_a_file_with_the_name_of_what_starts_kernels(patient: Patient) -> None:
    patient.ok(f"touch {SITE}/ipykernel_launcher.py")
    examined = patient.examine()
    assert examined.codes == {"GC101", "GC205"}, examined
    patient.ok(examined.findings["GC205"]["command"])
    assert patient.examine().codes == {"GC101"}


@pytest.mark.parametrize(
    ("changed", "code", "line"),
    [
        ({"argv": [*ARGV[:2], "ipykernel_launcherx", *ARGV[3:]]}, "GC234", "No module named"),
        ({"argv": []}, "GC235", "argv is empty"),
        ({"argv": ["no-such-program", "{connection_file}"]}, "GC235", "does not exist"),
        ({"env": {"A": 1}}, "GC235", "A is no text"),
    ],
)
def test_kernels_that_cannot_be_started(
    patient: Patient, changed: dict[str, object], code: str, line: str
) -> None:
    spec = {"argv": ARGV, "display_name": "mine", "language": "python", **changed}
    patient.write(f"{KERNELS}/mine/kernel.json", json.dumps(spec))
    examined = patient.examine(options="--kernel mine")
    assert examined.codes == {"GC101", code}, examined
    assert examined.status == 2
    assert any(line in item for item in examined.findings[code]["evidence"]), examined
