"""Facts -> what would mend a finding."""

from __future__ import annotations

import copy
import dataclasses
import shlex
from typing import Any

import pytest
from bodies import VENV, change, facts_of, findings_of, package, with_gpu
from hypothesis import given
from hypothesis import strategies as st
from test_provocations import NONE, ROWS, Row

from server_ext.doctor.checks import ALL_CHECKS, CATALOGUE
from server_ext.doctor.findings import Check, Finding
from server_ext.doctor.repairs import plan_leftovers, plan_variables
from server_ext.doctor.repairs.plan import plan, repairable, uninstalls
from server_ext.doctor.repairs.steps import Repair, RestartKernel, Run, SetAside, Unset

PYTHON = "/home/jovyan/.venv/bin/python"
PIP = ("/base/python", "-m", "pip")
UNINSTALL = f"/base/python -m pip --python {PYTHON} uninstall --yes "


def planned(code: str, body: dict[str, Any], python: str = PYTHON) -> Repair | None:
    return plan(findings_of(body)[code], facts_of(body), "mine", python, PIP)


def command(code: str, body: dict[str, Any]) -> str:
    found = planned(code, body)
    assert found is not None and found.kind == "here"
    return found.command


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
    assert command("GC311", body) == UNINSTALL + "typing_extensions"


def with_stray(**changes: Any) -> dict[str, Any]:
    """torch cannot be imported because of a file that no package owns."""
    body = broken_by("typing_extensions", "")
    folder = body["packages"]["directories"][0]
    folder["strays"] = ["typing_extensions"]
    folder["stray_files"] = {"typing_extensions": ["typing_extensions.py", "typing_extensions"]}
    folder.update(changes)
    return body


def test_modules_that_no_package_owns_are_set_aside() -> None:
    body = with_stray()
    found = planned("GC311", body)
    assert found is not None and found.loses and found.undo
    file, folder = f"{VENV}/typing_extensions.py", f"{VENV}/typing_extensions"
    assert found.steps == (SetAside(file), SetAside(folder))
    assert found.command == f"mv -n {file} {file}.set-aside && mv -n {folder} {folder}.set-aside"
    # they need no Python of the kernel's
    assert planned("GC311", body, "") == found
    # a package that breaks it together with them is uninstalled first
    package(body, "torchgen", "0.1")
    body["torch_culprit"]["culprits"].append(
        {"name": "torchgen", "version": "0.1", "directory": VENV}
    )
    found = planned("GC311", body)
    assert found is not None and found.command.startswith(UNINSTALL + "torchgen && mv -n ")
    assert planned("GC311", body, "") is None


@pytest.mark.parametrize(
    "body",
    [
        broken_by("typing_extensions", ""),
        with_stray(base=True),
        with_stray(writable=False),
        with_stray(stray_files={"typing_extensions": ["../x.py", 7]}),
        with_stray(stray_files=["typing_extensions.py"]),
    ],
)
def test_what_is_not_the_users_is_left_alone(body: dict[str, Any]) -> None:
    assert planned("GC311", body) is None


@pytest.mark.parametrize("place", ["/home/jovyan/work/lib", "/usr/lib/python3", "/home/jovyan/.v"])
def test_strays_of_no_environment_are_left_alone(place: str) -> None:
    """Sources in the work folder, say, that PYTHONPATH names."""
    body = with_stray(directory=place)
    body["torch_culprit"]["culprits"][0]["directory"] = place
    assert planned("GC311", body) is None


def test_strays_among_the_users_packages_are_set_aside() -> None:
    site = "/home/jovyan/.local/lib/python3.11/site-packages"
    body = with_stray(directory=site)
    body["python"]["user_site"]["path"] = site
    body["torch_culprit"]["culprits"][0]["directory"] = site
    assert command("GC311", body).startswith(f"mv -n {site}/typing_extensions.py ")


def test_another_torch_goes_with_its_family_in_one_go() -> None:
    body = ill()
    for name, version in (
        ("torch", "2.14.0"),
        ("triton", "3.6.0"),
        ("nvidia-cublas", "13.0"),
        ("requests", "2.0"),
    ):
        package(body, name, version)
    assert command("GC301", body) == UNINSTALL + "nvidia-cublas torch triton"


@pytest.mark.parametrize(
    ("driver", "family"),
    [
        (12080, "cuda-bindings nvidia-cublas torch"),
        (11080, ""),  # too old for the image's torch, too
    ],
)
def test_a_torch_that_needs_a_newer_driver_goes_where_the_images_would_do(
    driver: int, family: str
) -> None:
    body = with_gpu()
    body["libcuda"]["version"] = driver
    body["torch"]["torch"]["cuda"] = "13.0"
    assert planned("GC132", body) is None, "it is not in the environment"
    for name in ("torch", "nvidia-cublas", "cuda-bindings"):
        package(body, name, "13.0")
    assert (command("GC132", body) == UNINSTALL + family) if family else not planned("GC132", body)


def test_what_is_only_in_the_base_is_never_uninstalled() -> None:
    body = ill(("torch.torch.cuda", None))
    assert "GC321" in findings_of(body)
    assert planned("GC321", body) is None


def test_without_the_kernels_python_nothing_is_uninstalled() -> None:
    body = broken_by("typing_extensions", "4.0.0")
    package(body, "typing_extensions", "4.0.0")
    assert planned("GC311", body, "") is None


def test_ranks_and_shared_memory() -> None:
    body = ill(
        ("resources.orphan_ranks", [{"pid": 7, "command": "python a.py"}, {"pid": 9}]),
        (
            "resources.shm_leftovers",
            [{"name": "torch_1", "bytes": 5}, {"name": "torch; rm -r ~", "bytes": 5}],
        ),
    )
    assert command("GC411", body) == "kill -9 7 9"
    assert command("GC403", body) == "rm -f -- /dev/shm/torch_1"


def library_path(value: str, origin: dict[str, Any] | None = None) -> dict[str, Any]:
    """LD_LIBRARY_PATH has a folder with CUDA libraries."""
    return ill(
        ("system.library_path", [{"directory": "/x", "libraries": ["libcudart.so.12"]}]),
        ("environment.variables.LD_LIBRARY_PATH", value),
        ("origins", {} if origin is None else {"LD_LIBRARY_PATH": origin}),
    )


def test_a_variable_goes_where_it_is_set() -> None:
    assert command("GC212", library_path("/x")) == "unset LD_LIBRARY_PATH"
    settings = {"settings": "/k/kernel.json", "lines": []}
    mend = "gpucamp-doctor --kernel mine --repair GC212"
    assert command("GC212", library_path("/x", settings)) == mend
    lines = [
        {"file": "/h/.profile", "number": 2, "text": "export LD_LIBRARY_PATH=/x"},
        {"file": "/h/my rc", "number": 4, "text": "LD_LIBRARY_PATH=/y", "entries": ["/y"]},
        {"file": "/h/my rc", "number": 9, "text": "LD_LIBRARY_PATH=/x", "entries": ["/x"]},
    ]
    body = library_path("/x:/y", {"settings": "", "lines": lines[1:]})
    assert command("GC212", body) == "sed -i.before '4s/^/: # /;9s/^/: # /' '/h/my rc'"


def test_what_the_image_put_into_a_variable_stays() -> None:
    keep = "/opt/gpucamp/practice/lib"
    assert command("GC212", library_path(f"/x:{keep}")) == f"export LD_LIBRARY_PATH={keep}"
    assert planned("GC212", library_path(keep)) is None
    assert planned("GC212", library_path("/opt/gpucamped/x")) is not None


@pytest.mark.parametrize("code", ["GC313", "GC314", "GC317", "GC322"])
def test_a_variable_that_may_be_to_blame_goes_before_anything_larger(code: str) -> None:
    finding, facts = Finding(CATALOGUE[code]), library_path("/x")
    change(facts, "environment.variables.LD_PRELOAD", "/y/libcudnn.so.9")
    found = plan(finding, facts_of(facts), "mine", PYTHON, PIP)
    assert found is not None
    assert found.command == "unset LD_LIBRARY_PATH && unset LD_PRELOAD"
    found = plan(finding, facts_of(ill()), "mine", PYTHON, PIP)
    assert (found and found.kind) == (None if code == "GC322" else "packages")


def test_what_a_check_asks_to_unset_is_unset() -> None:
    """As other checks say it: a command `unset NAME ...`."""
    code = dataclasses.replace(CATALOGUE["GC212"], code="GC299", command="unset {names}")
    body = ill(("environment.variables.PIP_USER", "1"))
    for names, wanted in (("PIP_USER", "unset PIP_USER"), ("RANK", None), ("$(id)", None)):
        finding = Finding(code, params={"names": names})
        found = plan(finding, facts_of(body), "mine", PYTHON, PIP)
        assert (found.command if found else None) == wanted


def of_a_kernel(kernel_id: str, why: str = "") -> dict[str, Any]:
    return ill(
        ("running.id", kernel_id),
        ("running.pid", 40),
        ("running.started", 7),
        ("asked", {"asked": False, "why": why}),
    )


def test_a_kernel_of_the_servers_is_restarted_as_it_was_examined() -> None:
    finding = Finding(CATALOGUE["GC711"])
    found = plan(finding, facts_of(of_a_kernel("1a2b-3c")), "mine", PYTHON, PIP)
    assert found is not None and found.kind == "kernel"
    assert found.steps == (RestartKernel("1a2b-3c", (40, 7), busy=False),)
    assert found.command == "POST api/kernels/1a2b-3c/restart"
    busy = plan(finding, facts_of(of_a_kernel("1a2b-3c", "busy")), "mine", PYTHON, PIP)
    assert busy is not None and set(busy.says) > set(found.says)
    assert busy.steps == (RestartKernel("1a2b-3c", (40, 7), busy=True),)


@pytest.mark.parametrize("would_be", ["/x", "/x/:/opt/gpucamp/y", "/x/libcudart.so.12", "/y", ""])
def test_a_library_of_elsewhere_does_not_come_back(would_be: str) -> None:
    """What a new process would load it from is unset before the restart."""
    body = of_a_kernel("1a2b")
    change(body, "environment.variables.LD_LIBRARY_PATH", would_be)
    change(body, "running.spec_variables", {"LD_LIBRARY_PATH": would_be})
    finding = Finding(CATALOGUE["GC713"], ("/x/libcudart.so.12", "/base/libcudart.so.12"))
    found = plan(finding, facts_of(body), "mine", PYTHON, PIP)
    assert found is not None and found.steps[-1] == RestartKernel("1a2b", (40, 7))
    unset = [Unset("LD_LIBRARY_PATH", would_be.partition(":")[2])]
    assert list(found.steps[:-1]) == (unset if would_be.startswith("/x") else [])
    assert len(found.undo) == len(found.steps)
    change(body, "origins", {"LD_LIBRARY_PATH": {"settings": "/k/kernel.json", "lines": []}})
    if would_be == "/x":
        found = plan(finding, facts_of(body), "mine", PYTHON, PIP)
        assert found is not None
        # each half as one would do it
        first, second = found.command.split(" && ")
        assert first == "gpucamp-doctor --kernel mine --repair GC212"
        assert second == "POST api/kernels/1a2b/restart"


@pytest.mark.parametrize("kernel_id", ["process 40", "", "../x", "a b", "x\n"])
def test_a_kernel_of_no_server_is_restarted_by_hand(kernel_id: str) -> None:
    """As one that was examined in a terminal by its process."""
    finding = Finding(CATALOGUE["GC722"])
    found = plan(finding, facts_of(of_a_kernel(kernel_id)), "mine", PYTHON, PIP)
    assert found is not None and found.kind == "kernel" and not found.steps
    assert found.command == "" and found.loses


def test_a_cache_is_emptied_where_it_is_on_the_full_disk() -> None:
    body = ill(("resources.filesystems.work.free_bytes", 5))  # of the same disk
    assert command("GC405", body) == "/base/python -m pip cache purge"
    body = ill(("resources.filesystems.tmp.free_bytes", 5))
    assert planned("GC405", body) is None


def kind(code: str) -> str | None:
    found = plan(Finding(CATALOGUE[code]), facts_of(ill()), "mine", PYTHON, PIP)
    return found.kind if found else None


def own_kernel(python: str, name: str = "mine") -> dict[str, Any]:
    return ill(("kernelspec.name", name), ("kernelspec.executable", python))


@pytest.mark.parametrize("code", sorted(code for code in CATALOGUE if kind(code) == "packages"))
def test_a_reset_is_offered_where_it_gives_something_back(code: str) -> None:
    """It loses every package of the environment."""
    finding = Finding(CATALOGUE[code])
    for body, offered in (
        (own_kernel("/home/jovyan/work/mine/bin/python"), False),
        (own_kernel("/home/jovyan/.venv2/bin/python"), False),
        (own_kernel("/home/jovyan/.venv/bin/python3"), True),
        # whatever it names now: a fresh environment brings the one that it should name
        (own_kernel("/usr/bin/python3", "python3"), True),
    ):
        found = plan(finding, facts_of(body), "mine", PYTHON, PIP)
        assert (found and found.kind) == ("packages" if offered else None), body["kernelspec"]


def test_codes_that_need_more_than_this_server() -> None:
    assert kind("GC103") == "restart"
    assert kind("GC203") == "packages"
    assert kind("GC144") == "kernels"
    assert kind("GC311") is None


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_what_only_an_instructor_can_mend_is_not_offered(code: str) -> None:
    if CATALOGUE[code].who == "instructor":
        assert kind(code) in (None, "restart")


@pytest.mark.parametrize("code", sorted(repairable() & set(CATALOGUE)))
def test_a_repairs_command_is_said_in_one_place(code: str) -> None:
    """The code itself has none, but to look at what only a person can decide about."""
    own = CATALOGUE[code].command
    assert not own or own.split()[0] in ("du", "{command}") and kind(code) is None


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.code)
def test_the_page_of_proofs_says_what_is_offered(row: Row) -> None:
    """docs/findings-proof.md: what mends it."""
    code, words = row.code, row.repair.strip("`")
    own = CATALOGUE[code].command.split()[:1] == ["unset"]
    if words == NONE:
        assert code not in repairable() and not own
        return
    said = {
        "unset": own or code in plan_variables.CODES,
        "pip uninstall": code in uninstalls(),
        "pip cache purge": code in plan_leftovers.CACHE_CODES,
        "remove what was installed": kind(code) == "packages",
        "restart the server": kind(code) == "restart",
        "shut kernels down": kind(code) == "kernels",
        "restart the kernel": kind(code) == "kernel",
    }
    begins = [beginning for beginning in said if words.startswith(beginning)]
    assert all(said[beginning] for beginning in begins), f"{code} is not mended by {words}"


@pytest.mark.parametrize("check", ALL_CHECKS, ids=lambda check: check.name)
def test_a_finding_comes_when_its_repair_can_be_planned(check: Check) -> None:
    """Else the text report, which shows it at once, would not have the command."""
    if {code.code for code in check.codes} & uninstalls():
        assert "packages" in check.needs


@pytest.mark.parametrize("code", sorted(repairable()))
def test_what_is_offered_says_what_it_does_and_what_it_costs(code: str) -> None:
    found = kind(code)
    if found is not None:
        said = plan(Finding(CATALOGUE[code]), facts_of(ill()), "mine", PYTHON, PIP)
        assert said is not None and said.says and said.loses and said.undo


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
        found = plan(finding, facts, "mine", PYTHON, PIP)
        if found is None or not found.steps:
            continue
        words = shlex.split(found.command)
        if isinstance(found.steps[0], Run):
            assert where == "own"
            assert tuple(words[: len(PIP) + 4]) == (*PIP, "--python", PYTHON, "uninstall", "--yes")
            assert all(word in packages and word[0].isalnum() for word in words[len(PIP) + 4 :])
        elif words[0] == "rm":
            names = [word.removeprefix("/dev/shm/") for word in words[3:]]
            assert all(name in files and "/" not in name and name[0] != "." for name in names)
