"""Facts -> what would mend a finding."""

from __future__ import annotations

import copy
import shlex
from typing import Any

import pytest
from bodies import VENV, change, facts_of, findings_of, package, with_gpu
from hypothesis import given
from hypothesis import strategies as st

from server_ext.doctor.checks import CATALOGUE
from server_ext.doctor.kernel import Kernel
from server_ext.doctor.repairs.plan import Repair, Run, elsewhere, plan

PYTHON = "/home/jovyan/.venv/bin/python"
KERNEL = Kernel("python3", (PYTHON, "-X", "dev"), {}, {})
PIP = ("/base/python", "-m", "pip")
UNINSTALL = f"/base/python -m pip --python {PYTHON} uninstall --yes "


def planned(code: str, body: dict[str, Any], kernel: Kernel = KERNEL) -> Repair | None:
    return plan(findings_of(body)[code], facts_of(body), kernel, PIP)


def ill(*changes: tuple[str, Any]) -> dict[str, Any]:
    body = copy.deepcopy(with_gpu())
    for path, value in changes:
        change(body, path, value)
    return body


def broken_by(name: str, version: str) -> dict[str, Any]:
    """torch cannot be imported because of a package of the environment."""
    error = {"type": "ImportError", "message": "no", "name": None, "path": None, "frames": []}
    culprit = {"name": name, "version": version, "directory": VENV}
    return ill(
        ("torch", {"ok": False, "error": error, "warnings": []}),
        ("torch_culprit", {"tried": [culprit], "culprits": [culprit]}),
    )


def test_the_package_that_breaks_torch() -> None:
    body = broken_by("typing_extensions", "4.0.0")
    package(body, "typing_extensions", "4.0.0")
    found = planned("GC311", body)
    assert found is not None and found.step.command == UNINSTALL + "typing_extensions"


def test_modules_that_no_package_owns_are_not_pips() -> None:
    body = broken_by("typing_extensions", "")
    body["packages"]["directories"][0]["strays"] = ["typing_extensions"]
    assert planned("GC311", body) is None


def test_another_torch_goes_with_its_family_in_one_go() -> None:
    body = ill()
    for name, version in (
        ("torch", "2.14.0"),
        ("triton", "3.6.0"),
        ("nvidia-cublas", "13.0"),
        ("requests", "2.0"),
    ):
        package(body, name, version)
    found = planned("GC301", body)
    assert found is not None
    assert found.step.command == UNINSTALL + "nvidia-cublas torch triton"


def test_what_is_only_in_the_base_is_never_uninstalled() -> None:
    body = ill(("torch.torch.cuda", None))
    assert "GC321" in findings_of(body)
    assert planned("GC321", body) is None


def test_without_the_kernels_python_nothing_is_uninstalled() -> None:
    body = broken_by("typing_extensions", "4.0.0")
    package(body, "typing_extensions", "4.0.0")
    assert planned("GC311", body, Kernel("python3", (), {}, {})) is None


def test_ranks_and_shared_memory() -> None:
    body = ill(
        ("resources.orphan_ranks", [{"pid": 7, "command": "python a.py"}, {"pid": 9}]),
        (
            "resources.shm_leftovers",
            [{"name": "torch_1", "bytes": 5}, {"name": "torch; rm -r ~", "bytes": 5}],
        ),
    )
    ranks, files = planned("GC411", body), planned("GC403", body)
    assert ranks is not None and ranks.step.command == "kill -9 7 9"
    assert files is not None and files.step.command == "rm -f -- /dev/shm/torch_1"


def test_a_variable_that_is_set() -> None:
    body = ill(
        ("system.library_path", [{"directory": "/x", "libraries": ["libcudart.so.12"]}]),
        ("environment.variables.LD_LIBRARY_PATH", "/x"),
    )
    found = planned("GC212", body)
    assert found is not None and found.step.command == "unset LD_LIBRARY_PATH"


def test_codes_that_need_more_than_this_server() -> None:
    assert elsewhere("GC103") == "restart"
    assert elsewhere("GC203") == "reset"
    assert elsewhere("GC144") == "kernels"
    assert elsewhere("GC311") is None


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_what_only_an_instructor_can_mend_is_not_offered(code: str) -> None:
    if CATALOGUE[code].who == "instructor":
        assert elsewhere(code) in (None, "restart")


NAMES = st.text(min_size=1, max_size=30) | st.sampled_from(["-r", "--python", "a b", "$(id)", ".."])


@given(st.lists(NAMES, max_size=5), st.lists(NAMES, max_size=5), st.sampled_from(["own", "base"]))
def test_no_name_becomes_an_option_or_more_than_a_name(
    packages: list[str], files: list[str], where: str
) -> None:
    body = broken_by("typing_extensions", "1")
    folder = 0 if where == "own" else 1
    for name in packages:
        body["packages"]["directories"][folder]["distributions"].append(
            {"name": name, "version": "1", "modules": [name]}
        )
    body["torch_culprit"]["culprits"] = [
        {"name": name, "version": "1", "directory": VENV} for name in packages
    ] or [{"name": "x", "version": "1", "directory": VENV}]
    body["resources"]["shm_leftovers"] = [{"name": name, "bytes": 1} for name in files]
    findings, facts = findings_of(body), facts_of(body)
    for finding in findings.values():
        found = plan(finding, facts, KERNEL, PIP)
        if found is None:
            continue
        words = shlex.split(found.step.command)
        if isinstance(found.step, Run):
            assert where == "own"
            assert tuple(words[: len(PIP) + 4]) == (*PIP, "--python", PYTHON, "uninstall", "--yes")
            assert all(word in packages and word[0].isalnum() for word in words[len(PIP) + 4 :])
        elif words[0] == "rm":
            names = [word.removeprefix("/dev/shm/") for word in words[3:]]
            assert all(name in files and "/" not in name and name[0] != "." for name in names)
