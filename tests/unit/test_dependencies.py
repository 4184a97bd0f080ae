"""pyproject.toml names what the code imports, and nothing else."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# __main__: of probes, which run_probe.py runs
OURS = {"hub_ext", "server_ext", "__main__"}
# a kernel may have it or not: probes look, write_points.py and at_exit try
PROBED = {"torch", "ipykernel", "sitecustomize", "tensorboard", "tensorboardX", "wandb"}
# started as programs of their own (hub_ext/defaults.py, server_ext/ddp/stacks.py)
RUN = {"hub_ext": {"jupyterhub-idle-culler"}, "server_ext": {"py-spy"}}


def required(*lists: list[str]) -> set[str]:
    return {normalised(re.split(r"[<>=~!;\[ ]", line)[0]) for each in lists for line in each}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(package: str) -> set[str]:
    """The distributions of all modules that a package imports, anywhere in its code."""
    modules: set[str] = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules.add(str(node.module).partition(".")[0])
    known = packages_distributions()
    foreign = modules - sys.stdlib_module_names - OURS - PROBED
    return {normalised(known[module][0]) for module in foreign if module in known} | {
        f"{module} (not installed)" for module in foreign if module not in known
    }


@pytest.mark.parametrize(("package", "extra"), [("hub_ext", "hub"), ("server_ext", "server")])
def test_an_extra_names_what_its_package_imports(package: str, extra: str) -> None:
    common, own = PROJECT["dependencies"], PROJECT["optional-dependencies"][extra]
    found = imported(package)
    assert found - required(common, own) == set(), "imported, not required"
    assert required(own) - found == RUN[package], "required, not imported"


def test_the_base_holds_what_the_wheel_needs() -> None:
    base = (ROOT / "images/torch-cuda/base.in").read_text(encoding="utf-8").splitlines()
    asked = required([line for line in base if line and not line.startswith("#")])
    needed = required(PROJECT["dependencies"], PROJECT["optional-dependencies"]["server"])
    assert needed <= asked
