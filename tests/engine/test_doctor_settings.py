"""Variables, limits, folders and packages of a participant that keep the image from working."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable

import pytest
from doctor_patient import BASE_SITE, SITE, VENV, Patient, after, install, library

pytestmark = pytest.mark.timeout(300)

# a hub whose clock is two days ahead
HUB = """
import http.server, time
class Hub(http.server.BaseHTTPRequestHandler):
    def date_time_string(self, timestamp=None):
        return super().date_time_string(time.time() + 172800)
    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *arguments):
        pass
http.server.HTTPServer(("127.0.0.1", 8081), Hub).serve_forever()
"""


def test_variables_that_programs_cannot_use(patient: Patient) -> None:
    install(patient, "wandb", "0.23.0", wandb="")
    patient.write("/tmp/hub.py", HUB)
    patient.ok("(nohup /usr/bin/python3 /tmp/hub.py >/dev/null 2>&1 &); sleep 1")
    patient.ok("mkdir -p ~/work/course/one && touch ~/work/course/one/{a.ipynb,torch.py}")
    patient.ok("mkdir ~/work/package && touch ~/work/package/{numpy.py,train.py}")
    env = {
        "LOCAL_RANK": "3",
        "WORLD_SIZE": "4",
        "PYTORCH_CUDA_ALLOC_CONF": "expandable:True",
        "CUDA_LAUNCH_BLOCKING": "1",
        "OMP_NUM_THREADS": "many",
        "TORCH_CUDA_ARCH_LIST": "sm_80",
        "SSL_CERT_FILE": "/gone/ca.pem",
        "HF_HOME": "/dev/shm/huggingface",
        "TORCH_HOME": "/opt/gpucamp/torch",
        "HTTPS_PROXY": "user:hunter2@proxy:3128",
        "HF_HUB_OFFLINE": "1",
        "JUPYTERHUB_API_URL": "http://127.0.0.1:8081/hub/api",
    }
    examined = patient.examine(env)
    assert examined.codes == {
        "GC101",
        "GC215",
        "GC222",
        "GC224",
        "GC225",
        "GC226",
        "GC227",
        "GC228",
        "GC424",
        "GC425",
        "GC501",
        "GC502",
        "GC503",
        "GC504",
    }, examined
    assert "hunter2" not in json.dumps(examined.report), "what may hold a password is not told"
    assert "48 h" in examined.findings["GC501"]["title"]
    assert examined.findings["GC215"]["evidence"] == ["course/one/torch.py"]
    patient.ok("rm ~/work/course/one/torch.py")
    # the commands that are shown, typed in the terminal; and what they cannot unset
    unset = ("GC222", "GC224", "GC225", "GC226", "GC227", "GC228", "GC424", "GC502", "GC504")
    before = "\n".join(examined.findings[code]["command"] for code in unset)
    before += "\nunset TORCH_HOME JUPYTERHUB_API_URL; export WANDB_MODE=offline"
    assert patient.examine(env, before=before).codes == {"GC101"}


@pytest.mark.parametrize(
    "setting", ["PYTHONHOME=/gone", "PYTHONMALLOC=mine", "PYTHONIOENCODING=no-such-encoding"]
)
def test_a_variable_that_keeps_python_from_starting(patient: Patient, setting: str) -> None:
    name, _, value = setting.partition("=")
    examined = patient.examine({name: value, "PYTHONUTF8": "1"})
    assert examined.codes == {"GC101", "GC221"}, examined
    assert setting in examined.findings["GC221"]["evidence"]
    assert "PYTHONUTF8" not in examined.findings["GC221"]["title"]
    if name == "PYTHONHOME":
        command = examined.findings["GC221"]["command"]
        assert patient.examine({name: value}, before=command).codes == {"GC101"}


def test_limits_and_folders_that_keep_programs_small(make_patient: Callable[..., Patient]) -> None:
    patient = make_patient(
        nano_cpus=10**9,
        pids_limit=120,
        devices=["/dev/null:/dev/infiniband/uverbs0:rw"],
    )
    patient.ok(f"chmod a-w {SITE}; chmod a-w ~/work")
    examined = patient.examine({"OMP_NUM_THREADS": "8"}, before="ulimit -f 1000")
    assert examined.codes == {
        "GC101",
        "GC338",
        "GC421",
        "GC422",
        "GC423",
        "GC426",
        "GC427",
    }, examined
    assert "OMP_NUM_THREADS=1" in examined.findings["GC421"]["command"]
    patient.ok(examined.findings["GC338"]["command"])
    patient.ok("chmod u+w ~/work")
    # typed in the terminal, as they are shown
    typed = "\n".join(examined.findings[code]["command"] for code in ("GC421", "GC426"))
    assert patient.examine(before=typed).codes == {"GC101", "GC422"}


def distribution(patient: Patient, name: str, needs: str, **files: str) -> None:
    """A package of the environment, as pip leaves it."""
    info = f"{SITE}/{name}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: {needs}\n"
    patient.write(f"{info}/METADATA", metadata)
    patient.write(f"{info}/INSTALLER", "pip")
    for path, text in files.items():
        patient.write(f"{SITE}/{path}.py", text)
    lines = "\n".join(f"{path}.py,," for path in files)
    patient.write(f"{info}/RECORD", f"{lines}\n{name}-1.0.dist-info/METADATA,,")


def test_packages_that_do_not_fit_torch(patient: Patient) -> None:
    """Libraries by gcc, loaded as an extension's are; what they lack is really missing."""
    library(patient, "/tmp/gl/libGL.so.1", "int gone(void) { return 1; }")
    library(
        patient,
        "/tmp/native/cv2.so",
        "int gone(void); int use(void) { return gone(); }",
        "-L/tmp/gl",
        "-l:libGL.so.1",
    )
    library(
        patient,
        "/tmp/native/mine.so",
        "int _ZN5torchGone(void); int use(void) { return _ZN5torchGone(); }",
        "-Wl,-z,now",
    )
    load = "import ctypes; ctypes.CDLL('/tmp/native/%s.so')"
    distribution(patient, "cv2", "numpy", cv2=load % "cv2")
    distribution(patient, "mine", "torch (>=2)", mine=load % "mine")
    distribution(
        patient,
        "old",
        "numpy",
        old="raise ImportError('numpy.core.multiarray failed to import')",
    )
    distribution(patient, "crashing", "torch", crashing="import os; os.abort()")
    distribution(patient, "innocent", "torch", innocent="import torch; torch.zeros(1)")
    examined = patient.examine()
    assert examined.codes == {"GC101", "GC331", "GC332", "GC333", "GC334"}, examined
    assert "libGL.so.1" in examined.findings["GC331"]["title"]
    for code, name in (("GC331", "cv2"), ("GC332", "mine"), ("GC333", "old"), ("GC334", "crash")):
        assert name in examined.findings[code]["title"]
    assert "innocent" not in json.dumps(examined.report["findings"])
    for code in ("GC331", "GC332"):
        patient.ok(examined.findings[code]["command"])
    patient.ok("pip uninstall -y old crashing")
    assert patient.examine().codes == {"GC101"}


def test_packages_that_cannot_be_read(patient: Patient) -> None:
    patient.ok(f"chmod 000 {SITE}")
    examined = patient.examine()
    assert {"GC101", "GC335"} <= examined.codes, examined
    patient.ok(examined.findings["GC335"]["command"])
    assert patient.examine().codes == {"GC101"}


def test_an_image_that_lost_a_library(make_patient: Callable[..., Patient]) -> None:
    """Which only root can do, in a container that may be written."""
    patient = make_patient(read_only=False)
    folder = f"{BASE_SITE}/nvidia"
    status, _, err = patient.run(
        f"mv {folder}/cublas /tmp/ && rm -r {BASE_SITE}/nvidia_cublas*.dist-info", user="0"
    )
    assert status == 0, err
    examined = patient.examine()
    assert examined.codes == {"GC101", "GC313", "GC336"}, examined
    assert "nvidia-cublas-cu12" in examined.findings["GC336"]["title"]
    assert "libcublas" in examined.findings["GC313"]["title"]


def test_a_library_of_cuda_from_elsewhere(patient: Patient) -> None:
    own = f"{BASE_SITE}/nvidia/cuda_runtime/lib/libcudart.so.12"
    patient.ok(f"mkdir /tmp/toolkit && cp {own} /tmp/toolkit/")
    env = {"LD_PRELOAD": "/tmp/toolkit/libcudart.so.12"}
    examined = patient.examine(env)
    assert examined.codes == {"GC101", "GC213", "GC324"}, examined
    assert after(patient, examined, "GC324", env).codes == {"GC101"}


# ---- the doctor itself -------------------------------------------------------------------------


def test_two_doctors_at_once(patient: Patient) -> None:
    both = "(gpucamp-doctor --json >/tmp/one & gpucamp-doctor --json >/tmp/two; wait)"
    patient.ok(both)
    for name in ("one", "two"):
        report = json.loads(patient.ok(f"cat /tmp/{name}"))
        assert [finding["code"] for finding in report["findings"]] == ["GC101"]
    kept = json.loads(patient.ok("cat ~/work/.gpucamp/doctor-report.json"))
    assert kept["verdict"] == "advice"


def test_a_check_that_fails_costs_nothing_else(patient: Patient) -> None:
    program = """
import dataclasses, sys
from server_ext.doctor import checks, command_line, examination

def broken(facts):
    raise KeyError("oops")

ill = dataclasses.replace(checks.ALL_CHECKS[0], run=broken)
examination.ALL_CHECKS = (ill, *checks.ALL_CHECKS[1:])
sys.exit(command_line.main(["--json"]))
"""
    status, out, err = patient.run(f"/opt/gpucamp/base/bin/python -Ic {shlex.quote(program)}")
    assert status == 1, out + err
    codes = {finding["code"] for finding in json.loads(out)["findings"]}
    assert codes == {"GC101", "GC904"}


@pytest.mark.parametrize(
    ("before", "code"),
    [("ulimit -u 1", "GC903"), ("ulimit -n 24", "GC410"), ("ulimit -v 4000000", "GC427")],
)
def test_a_shell_without_room(patient: Patient, before: str, code: str) -> None:
    examined = patient.examine(before=before)
    assert code in examined.codes, examined


def test_torch_that_floods(patient: Patient) -> None:
    flood = "import os, sys; [os.write(1, b'x' * 65536) for _ in range(100)]"
    patient.write(f"{SITE}/typing_extensions.py", flood)
    examined = patient.examine()
    assert "typing_extensions" in examined.findings["GC311"]["title"], examined
    assert f"{VENV}/" in json.dumps(examined.findings["GC311"])
