"""When a kernel is started to see whether it does, and what a kernel.json may say."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from bodies import NO_GPU, change, facts_of

from server_ext.doctor.checks.starting import folders_to_try, question
from server_ext.doctor.facts import Failure
from server_ext.doctor.kernel import problems

PYTHON = "/usr/bin/python3"
ARGV = [PYTHON, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
WORK = "/home/jovyan/work"


@pytest.mark.parametrize(
    ("changes", "folders"),
    [
        ([], ()),
        ([("kernelspec.argv", [PYTHON, "-Xfrozen_modules=off", *ARGV[1:]])], ()),
        ([("kernelspec.argv", [*ARGV, "--debug"])], (WORK,)),
        ([("kernelspec.argv", [PYTHON, "-m", "mine", "-f", "{connection_file}"])], (WORK,)),
        ([("python.start_files", ["/home/jovyan/start.py"])], (WORK,)),
        ([("python.shadows", ["re.py"])], (WORK,)),
        ([("python.shadows", ["a/b/re.py", "a/types.py"])], (f"{WORK}/a", f"{WORK}/a/b")),
        (
            [("python.shadows", [f"{n}/re.py" for n in range(9)])],
            tuple(f"{WORK}/{n}" for n in "012"),
        ),
        # what keeps it from starting is told already
        ([("python.shadows", ["re.py"]), ("ipykernel.ok", False)], ()),
        ([("python.shadows", ["re.py"]), ("python", Failure("crashed", ""))], ()),
    ],
)
def test_a_kernel_is_started_only_where_something_is_the_users_own(
    changes: list[tuple[str, Any]], folders: tuple[str, ...]
) -> None:
    body = copy.deepcopy(NO_GPU)
    for path, value in changes:
        change(body, path, value)
    assert folders_to_try(facts_of(body)) == folders


def test_it_is_started_by_the_python_that_was_found() -> None:
    body = copy.deepcopy(NO_GPU)
    change(body, "kernelspec.argv", ["python3", "-m", "mine", "{resource_dir}/x"])
    change(body, "kernelspec.folder", "/kernels/mine")
    asked = question(facts_of(body), (WORK,), 5.0)
    assert asked == {
        "argv": ["/home/jovyan/.venv/bin/python", "-m", "mine", "/kernels/mine/x"],
        "folders": [WORK],
        "files": False,
        "seconds": 5.0,
    }
    change(body, "kernelspec.argv", ["conda", "run", "python", "{connection_file}"])
    change(body, "kernelspec.launched", ["/opt/conda/bin/python"])
    assert question(facts_of(body), (WORK,), 5.0)["argv"] == body["kernelspec"]["argv"]


@pytest.mark.parametrize(
    ("argv", "env", "said"),
    [
        (ARGV, {}, []),
        (ARGV, {"A": "1"}, []),
        # a Python that is missing has a code of its own
        (["/gone/python", *ARGV[1:]], {}, []),
        (["env", "A=1", *ARGV], {}, []),
        ([PYTHON, "-m", "mine", "--connection={connection_file}"], {}, []),
        ([], {}, ["empty"]),
        ([""], {}, ["empty"]),
        (["bin/python", *ARGV[1:]], {}, ["depends on the notebook's folder"]),
        (["./start", "{connection_file}"], {}, ["depends on the notebook's folder"]),
        (["/gone/start", "{connection_file}"], {}, ["does not exist"]),
        (["/", "{connection_file}"], {}, ["cannot be executed"]),
        (["no-such-program", "{connection_file}"], {}, ["does not exist"]),
        (ARGV[:3], {}, ["no {connection_file}"]),
        (ARGV, {"A": 1, "B": None, "C": "x", "D": ["x"]}, ["A is no", "B is no", "D is no"]),
    ],
)
def test_what_a_kernel_json_may_not_say(
    argv: list[str], env: dict[str, object], said: list[str]
) -> None:
    found = problems(argv, env, {"PATH": "/usr/bin:/bin"})
    assert len(found) == len(said)
    for text, part in zip(sorted(found), sorted(said), strict=True):
        assert part in text
