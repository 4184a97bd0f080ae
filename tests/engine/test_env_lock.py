"""gpucamp-env in the real image: a lock of a participant's packages, and its way back."""

from __future__ import annotations

from lab_server import LabServer
from participant_files import install

PACKAGES = ("shellingham", "annotated-doc")


def test_what_was_installed_comes_back_into_an_environment_without_it(lab: LabServer) -> None:
    assert "with nothing on top" in lab.ok("gpucamp-env diff")
    install(lab, " ".join(PACKAGES), keep="kept")
    lab.ok("gpucamp-env freeze")
    lock = lab.ok("cat environment.lock")
    assert all(f"\n{name}==" in lock for name in PACKAGES), lock
    lab.ok(f"pip uninstall -q -y {' '.join(PACKAGES)}")
    offline = "PIP_NO_INDEX=1 PIP_FIND_LINKS=$PWD/kept"
    lab.ok("echo 'nowhere-to-be-found==1.0' >> environment.lock")
    status, said = lab.sh(f"{offline} gpucamp-env restore")
    assert status == 1 and "✗ nowhere-to-be-found==1.0: failed" in said, said
    lab.ok("python -c 'import shellingham, annotated_doc, torch'")
