"""torch's slow modules are put off only where they would run as they did in the image's build.

torch is a small stand-in here; that the real one is imported so is shown in
tests/engine/test_doctor_deferred.py.
"""

from __future__ import annotations

import compileall
import json
import os
import py_compile
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from server_ext.doctor.probing import PROBES_DIR

ROOT = Path(__file__).parents[3]
MODULE = "torch._meta_registrations"
# as the probe: neither the folder of a script nor a file of ours is among what was loaded before
DRIVER = """
import sys
torch, deferred, record, before = sys.argv[1:]
sys.path.insert(0, torch)
exec(before)
import importlib.util
spec = importlib.util.spec_from_file_location("deferred", deferred)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
said = module.defer(record)
import torch
ran = "torch._refs" in sys.modules
used = torch._meta_registrations.shapes
import json
print(json.dumps({"deferred": said, "ran": ran, "used": used}))
"""
RECORDER = """
import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


@pytest.fixture
def torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a torch of three files, compiled beside them as an installed package is."""
    monkeypatch.setattr(sys, "pycache_prefix", None)  # `make test` has one of its own
    package = tmp_path / "site" / "torch"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import torch._meta_registrations\n")
    (package / "_meta_registrations.py").write_text("import torch._refs\nshapes = 'known'\n")
    (package / "_refs.py").write_text("")
    compileall.compile_dir(package, quiet=2)
    return package.parent


def recorded(torch: Path) -> subprocess.CompletedProcess[str]:
    """Runs the image's build step on it; the record is beside the folder."""
    script = ROOT / "images/torch-cuda/record_deferred.py"
    record = torch.parent / "record.json"
    return subprocess.run(
        [sys.executable, "-I", "-c", RECORDER, torch, script, record],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def imported(
    torch: Path, *options: str, before: str = "", env: dict[str, str] | None = None
) -> dict[str, Any]:
    """How torch is imported in a new Python. before: what has run in it until then."""
    plain = {n: v for n, v in os.environ.items() if not n.startswith(("PYTHON", "TORCH"))}
    record = torch.parent / "record.json"
    done = subprocess.run(
        [sys.executable, "-S", *options, "-c", DRIVER]
        + [str(torch), str(PROBES_DIR / "deferred.py"), str(record), before],
        env={**plain, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_it_is_put_off_where_nothing_has_changed_and_is_there_for_who_uses_it(torch: Path) -> None:
    assert recorded(torch).returncode == 0
    assert imported(torch) == {"deferred": [MODULE], "ran": False, "used": "known"}
    assert imported(torch, "-Xfrozen_modules=off")["deferred"] == [MODULE]  # Jupyter's own option
    harmless = {"PYTHONNOUSERSITE": "1", "TORCHINDUCTOR_CACHE_DIR": "/nowhere"}
    assert imported(torch, env=harmless)["deferred"] == [MODULE]


@pytest.mark.parametrize("file", ["_meta_registrations.py", "_refs.py", "__pycache__"])
def test_a_changed_file_is_imported(torch: Path, file: str) -> None:
    assert recorded(torch).returncode == 0
    changed = torch / "torch" / file
    if changed.is_dir():
        changed = next(changed.glob("_refs.*"))
    changed.write_bytes(changed.read_bytes() + b"\n")
    assert imported(torch) == {"deferred": None, "ran": True, "used": "known"}


def test_a_missing_file_is_imported(torch: Path) -> None:
    assert recorded(torch).returncode == 0
    next((torch / "torch" / "__pycache__").glob("_refs.*")).unlink()
    assert imported(torch)["deferred"] is None


@pytest.mark.parametrize(
    ("options", "env"),
    [
        (("-W", "error"), {}),
        (("-O",), {}),
        (("-X", "importtime"), {}),
        ((), {"PYTHONWARNINGS": "error"}),
        ((), {"PYTHONVERBOSE": ""}),
        ((), {"PYTORCH_JIT": "0"}),
        ((), {"TORCH_LOGS": "all"}),
    ],
)
def test_where_a_setting_may_change_imports_it_is_not_put_off(
    torch: Path, options: tuple[str, ...], env: dict[str, str]
) -> None:
    assert recorded(torch).returncode == 0
    assert imported(torch, *options, env=env) == {"deferred": None, "ran": True, "used": "known"}


@pytest.mark.parametrize(
    "before",
    [
        "sys.meta_path.insert(0, type('Editable', (), {'find_spec': lambda *a: None})())",
        "import types; sys.modules['hook'] = types.ModuleType('hook'); "
        "sys.modules['hook'].__file__ = '/home/jovyan/.venv/lib/hook.py'",
        "sys.version += '!'",
    ],
)
def test_where_something_else_has_run_it_is_not_put_off(torch: Path, before: str) -> None:
    assert recorded(torch).returncode == 0
    assert imported(torch, before=before) == {"deferred": None, "ran": True, "used": "known"}


def test_another_torch_in_front_is_imported_whole(torch: Path, tmp_path: Path) -> None:
    assert recorded(torch).returncode == 0
    other = tmp_path / "other" / "torch"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("from types import SimpleNamespace as N\n")
    with (other / "__init__.py").open("a") as stream:
        stream.write("_meta_registrations = N(shapes='other')\n")
    before = f"sys.path.insert(0, {str(other.parent)!r})"
    said = imported(torch, before=before)
    assert said == {"deferred": None, "ran": False, "used": "other"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"python": 3}', "\xff"])
def test_without_a_record_torch_is_imported_whole(torch: Path, text: str) -> None:
    (torch.parent / "record.json").write_text(text, encoding="latin-1")
    assert imported(torch)["deferred"] is None
    (torch.parent / "record.json").unlink()
    assert imported(torch)["deferred"] is None


def test_there_is_no_record_of_a_module_that_brings_in_others(torch: Path) -> None:
    (torch / "foreign.py").write_text("")
    (torch / "torch" / "_refs.py").write_text("import colorsys, foreign\n")
    done = recorded(torch)
    assert done.returncode != 0 and "foreign" in done.stderr and "colorsys" not in done.stderr
    assert not (torch.parent / "record.json").exists()


def test_what_it_brings_in_of_pythons_own_is_imported_at_once(torch: Path) -> None:
    (torch / "torch" / "_refs.py").write_text("import colorsys\n")
    compileall.compile_dir(torch, quiet=2, force=True)
    assert recorded(torch).returncode == 0
    assert json.loads((torch.parent / "record.json").read_text())["imports"] == ["colorsys"]
    assert imported(torch)["deferred"] == [MODULE]


def test_there_is_no_record_where_nothing_can_be_put_off(torch: Path) -> None:
    (torch / "torch" / "__init__.py").write_text(
        "import torch._meta_registrations\ntorch._meta_registrations.shapes\n"
    )
    done = recorded(torch)
    assert done.returncode != 0 and "can put none off" in done.stderr


def test_of_a_file_whose_source_python_ignores_only_the_code_counts(torch: Path) -> None:
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    sources = [torch / "torch" / name for name in ("__init__.py", f"{MODULE[6:]}.py", "_refs.py")]
    compiled = [
        py_compile.compile(str(path), doraise=True, invalidation_mode=mode) for path in sources
    ]
    flags = [int.from_bytes(Path(str(path)).read_bytes()[4:8], "little") for path in compiled]
    assert flags == [1, 1, 1]  # PEP 552: its source is not looked at
    assert recorded(torch).returncode == 0
    files = json.loads((torch.parent / "record.json").read_text())["files"]
    assert {Path(name).suffix for name in files} == {".pyc"} and len(files) == 2, files
    (torch / "torch" / "_refs.py").write_text("not used\n")
    assert imported(torch)["deferred"] == [MODULE]
