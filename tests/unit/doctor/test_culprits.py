"""Who is suspected first."""

from __future__ import annotations

import copy
from typing import Any

from bodies import BASE, NO_GPU, VENV, facts_of, package

from server_ext.doctor.checks.culprits import suspects


def body_with(
    error: dict[str, Any] | None, *packages: tuple[str, str, list[str]]
) -> dict[str, Any]:
    body = copy.deepcopy(NO_GPU)
    for name, version, modules in packages:
        package(body, name, version, modules)
    body["torch"] = {"ok": False, "error": error or {}}
    return body


def names(body: dict[str, Any]) -> list[str]:
    return [suspect.name for suspect in suspects(facts_of(body), "torch")]


TYPING = ("typing_extensions", "4.0.0", ["typing_extensions"])
NUMPY = ("numpy", "1.26.4", ["numpy"])
RICH = ("rich", "13.0", ["rich"])


def test_the_package_that_the_error_names_comes_first() -> None:
    error = {"name": "typing_extensions", "path": f"{VENV}/typing_extensions.py", "frames": []}
    assert names(body_with(error, NUMPY, RICH, TYPING)) == ["typing_extensions", "numpy", "rich"]


def test_then_the_one_whose_files_are_nearest_to_the_error() -> None:
    error = {
        "name": None,
        "frames": [f"{BASE}/torch/__init__.py", f"{VENV}/rich/a.py", f"{VENV}/numpy/x/y.py"],
    }
    assert names(body_with(error, TYPING, RICH, NUMPY)) == ["numpy", "rich", "typing_extensions"]


def test_without_any_trace_those_that_shadow_the_base() -> None:
    assert names(body_with(None, RICH, TYPING, NUMPY)) == ["typing_extensions", "numpy", "rich"]


def test_a_file_that_no_package_owns_is_suspected_when_the_error_touches_it() -> None:
    body = body_with({"name": "sympy", "frames": []})
    body["packages"]["directories"][0]["strays"] = ["sympy", "unrelated"]
    assert names(body) == ["sympy", "unrelated"]


def test_a_path_is_owned_by_whole_names_only() -> None:
    error = {"name": None, "frames": [f"{VENV}/richer/a.py", f"{VENV}2/rich/a.py"]}
    assert names(body_with(error, RICH, TYPING)) == ["typing_extensions", "rich"]


def test_the_base_is_no_suspect() -> None:
    error = {"name": "torch", "path": f"{BASE}/torch/x.py", "frames": [f"{BASE}/torch/x.py"]}
    assert names(body_with(error, RICH)) == ["rich"]


def test_a_module_that_is_not_installed_has_no_suspect() -> None:
    error = {"type": "ModuleNotFoundError", "name": "torch", "frames": []}
    body = body_with(error, RICH, TYPING)
    body["torch"]["module"] = "torch"
    assert names(body) == []
    body["packages"]["directories"][0]["strays"] = ["torch"]
    assert names(body)[0] == "torch"
