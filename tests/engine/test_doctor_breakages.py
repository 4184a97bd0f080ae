"""More of what the doctor names, broken in the real image: torch and its libraries, another Python,
storage. docs/findings-proof.md says which code is proved where.

Libraries are made on the spot by gcc, wheels hold a few lines of Python over the image's packages.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import pytest
from doctor_patient import (
    BASE_SITE,
    SITE,
    VENV,
    Patient,
    after,
    install,
    kernel,
    library,
    look,
    make_wheel,
)

pytestmark = pytest.mark.timeout(300)

# what runs instead of torch, each time that Python starts
HOOK = (
    "import sys; sys.meta_path.insert(0, type('Hook', (), {'find_spec': staticmethod("
    "lambda name, path=None, target=None: %s if name == 'torch' else None)}))"
)

# a package that is the image's, with other files in front of it
OVER_BASE = """
__path__ = [*__path__, "{base}/{name}"]
__file__ = "{base}/{name}/__init__.py"
exec(compile(open(__file__).read(), __file__, "exec"))
"""


def over_base(name: str) -> str:
    return OVER_BASE.format(base=BASE_SITE, name=name)


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("exec('raise ImportError(name)')", "GC315"),
        ("__import__('os').abort()", "GC317"),
        # takes the whole minute that an import from a cold disk may need
        ("__import__('time').sleep(600)", "GC316"),
    ],
)
def test_start_up_code_that_keeps_torch_out(patient: Patient, what: str, code: str) -> None:
    """No package is in the way that could be named."""
    patient.write(f"{SITE}/instrument.pth", HOOK % what)
    examined = patient.examine()
    assert examined.codes == {"GC101", code}, examined
    assert examined.status == 2
    assert examined.findings[code]["repair"]["kind"] == "packages"
    assert patient.remove_packages().examine().codes == {"GC101"}


def test_a_library_of_another_version_is_loaded_first(patient: Patient) -> None:
    """torch's own come before those in LD_LIBRARY_PATH (RPATH), but not before preloaded ones."""
    library(patient, "/tmp/old/libcudart.so.12", "int other(void) { return 1; }")
    env = {"LD_PRELOAD": "/tmp/old/libcudart.so.12"}
    examined = patient.examine(env)
    assert examined.codes == {"GC101", "GC213", "GC314"}, examined
    assert any("undefined symbol" in line for line in examined.findings["GC314"]["evidence"])
    assert after(patient, examined, "GC314", env).codes == {"GC101"}


def test_a_library_that_torch_needs_needs_another_that_is_missing(patient: Patient) -> None:
    library(patient, "/tmp/cuda13/libcudart.so.13", "int gone(void) { return 1; }")
    library(
        patient,
        "/tmp/mixed/libdl.so.2",
        "int gone(void); int use(void) { return gone(); }",
        "-L/tmp/cuda13",
        "-l:libcudart.so.13",
    )
    kernel(patient, "mixed", f"{VENV}/bin/python", LD_LIBRARY_PATH="/tmp/mixed")
    examined = patient.examine(options="--kernel mixed")
    assert examined.codes == {"GC101", "GC313"}, examined
    assert "libcudart.so.13" in examined.findings["GC313"]["title"]
    mend = "gpucamp-doctor --kernel mixed --repair GC313"
    status, said, err = patient.run(f"{mend} </dev/null; {mend} --yes")
    assert "--yes" in err and status == 0, said + err
    assert "LD_LIBRARY_PATH removed from" in said and "GC313 is mended." in said
    assert patient.examine(options="--kernel mixed").codes == {"GC101"}
    assert "was not found" in patient.ok(f"{mend} --yes")


def test_a_cudnn_of_another_version_answers(patient: Patient) -> None:
    library(patient, "/tmp/old.so", "unsigned long cudnnGetVersion(void) { return 90100; }")
    env = {"LD_PRELOAD": "/tmp/old.so"}
    examined = patient.examine(env)
    assert examined.codes == {"GC101", "GC213", "GC322"}, examined
    assert "90100" in examined.findings["GC322"]["title"]
    assert after(patient, examined, "GC322", env).codes == {"GC101"}


def test_torch_without_cuda_in_front_of_the_images(patient: Patient) -> None:
    """The image's torch with the version file of a CPU build, whose wheel is on another index."""
    own = {
        "torch/__init__": over_base("torch"),
        "torch/version": "__version__ = '2.9.1+cpu'\ndebug = False\ncuda = hip = xpu = None\n"
        "git_version = ''\n",
    }
    install(patient, "torch", "2.9.1+cpu", **own)
    examined = patient.examine()
    assert {"GC101", "GC321"} <= examined.codes, examined
    assert "2.9.1+cpu" in examined.findings["GC321"]["title"]
    patient.ok(examined.findings["GC321"]["command"])
    assert patient.examine().codes == {"GC101"}


def test_a_numpy_that_torch_cannot_use(patient: Patient) -> None:
    """The image's NumPy without the C interface that torch was built for."""
    own = over_base("numpy") + "import numpy._core._multiarray_umath as m\ndel m._ARRAY_API, m\n"
    install(patient, "numpy", "1.26.4", **{"numpy/__init__": own})
    examined = patient.examine()
    assert examined.codes == {"GC101", "GC323"}, examined
    patient.ok(examined.findings["GC323"]["command"])
    assert patient.examine().codes == {"GC101"}


def test_packages_for_another_torch(patient: Patient) -> None:
    install(patient, "torchvision", "0.25.0", marker="")
    install(patient, "triton", "3.6.0", marker2="")
    examined = patient.examine()
    assert examined.codes == {"GC101", "GC302", "GC303"}, examined
    for code in ("GC302", "GC303"):
        patient.ok(examined.findings[code]["command"])
    assert patient.examine().codes == {"GC101"}


def test_another_numpy_in_pythonpath(patient: Patient) -> None:
    patient.ok("mkdir -p /tmp/old/numpy-1.0.dist-info")
    env = {"PYTHONPATH": "/tmp/old"}
    examined = patient.examine(env)
    assert examined.codes == {"GC101", "GC214"}, examined
    assert after(patient, examined, "GC214", env).codes == {"GC101"}


def test_a_python_without_its_headers(patient: Patient) -> None:
    patient.ok(
        "mkdir -p /tmp/own/bin /tmp/own/lib && cp /usr/bin/python3.11 /tmp/own/bin/python3 && "
        "ln -s /usr/lib/python3.11 /tmp/own/lib/python3.11"
    )
    kernel(patient, "own", "/tmp/own/bin/python3")
    examined = patient.examine(options="--kernel own")
    assert examined.codes == {"GC101", "GC206", "GC210", "GC312", "GC409"}, examined


def test_storage_that_hangs(patient: Patient) -> None:
    """A file system that gives no answer needs more rights than a test has: a library sleeps."""
    source = (
        "#include <unistd.h>\n"
        "int statvfs(const char *path, void *to) { sleep(600); return -1; }\n"
        "int statvfs64(const char *path, void *to) { sleep(600); return -1; }"
    )
    library(patient, "/tmp/slow.so", source)
    examined = patient.examine({"LD_PRELOAD": "/tmp/slow.so"})
    assert examined.codes == {"GC101", "GC213", "GC412"}, examined
    assert patient.examine().codes == {"GC101"}


def test_metadata_that_hangs(patient: Patient) -> None:
    """The list of packages is never known; all else is, and is said to be well."""
    patient.ok(f"mkdir {SITE}/x-1.0.dist-info && mkfifo {SITE}/x-1.0.dist-info/RECORD")
    examined = patient.examine()
    assert examined.codes == {"GC101", "GC901"}, examined
    assert "packages (timeout)" in examined.findings["GC901"]["title"]
    assert examined.status == 1
    patient.ok(f"rm -r {SITE}/x-1.0.dist-info")
    assert patient.examine().codes == {"GC101"}


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        ({"FAKE_CUDA_INIT": "46", "device": {"compute_mode": 3}}, {"GC138", "GC152"}),
        ({"FAKE_CUDA_INIT": "802", "device": {"recovery_action": 4}}, {"GC136", "GC153"}),
    ],
)
def test_a_card_that_is_kept_from_programs(
    card: Patient, arguments: dict[str, Any], codes: set[str]
) -> None:
    examined = look(card, **arguments)
    assert examined.codes == codes, examined


def test_shared_memory_that_is_only_scarce(make_patient: Callable[..., Patient]) -> None:
    examined = make_patient(shm_size="300m").examine()
    assert examined.codes == {"GC101", "GC413"}, examined


def test_the_images_kernel_with_another_python(patient: Patient) -> None:
    """The environment's Python no longer knows that it is one, and is the system's."""
    patient.ok(f"rm {VENV}/pyvenv.cfg")
    examined = patient.examine()
    assert {"GC208", "GC312"} <= examined.codes, examined
    assert "GC206" not in examined.codes
    assert examined.findings["GC208"]["repair"]["kind"] == "packages"
    assert patient.remove_packages().examine().codes == {"GC101"}


def test_kernels_of_the_users_own(patient: Patient) -> None:
    """A reset would lose them, too: what is offered leaves the environment as it is."""
    python = "/home/jovyan/work/my own/bin/python"
    kernel(patient, "mine", python)
    examined = patient.examine(options="--kernel mine")
    assert examined.codes == {"GC101", "GC209"}, examined
    patient.ok(f"python -m venv --without-pip {shlex.quote('/home/jovyan/work/my own')}")
    examined = patient.examine(options="--kernel mine")
    assert {"GC101", "GC206", "GC210", "GC337"} <= examined.codes, examined
    assert examined.findings["GC210"]["repair"] is None
    # by the command that is shown, from an index that is a folder
    files = {"ipykernel/__init__": "", "ipykernel/kernelapp": "IPKernelApp = 0"}
    make_wheel(patient, "ipykernel", "7.1.0", ipykernel_launcher="", **files)
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/tmp/wheels"}
    patient.ok(examined.findings["GC210"]["command"], index)
    patient.ok(examined.findings["GC337"]["command"])
    mended = patient.examine(options="--kernel mine")
    assert mended.codes == examined.codes - {"GC210", "GC337"}, mended.findings

    patient.ok("rm -r ~/work/my*")
    examined = patient.examine(options="--kernel mine")
    assert examined.codes == {"GC101", "GC209"}, examined
    assert examined.findings["GC209"]["repair"] is None
    patient.ok(examined.findings["GC209"]["command"])
    assert "mine" not in patient.ok("jupyter kernelspec list")
    # the kernel that it says works without it
    assert patient.examine().codes == {"GC101"}
