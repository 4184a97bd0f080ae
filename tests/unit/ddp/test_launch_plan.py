"""From a request to the command: the whole of it, and what is refused."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_ext.ddp.launch_plan import AT_EXIT, Machine, Script, child_environment, make_plan
from server_ext.ddp.launch_request import LaunchRequest, parse_request
from server_ext.ddp.machine import read_machine
from server_ext.errors import BadRequest

RUN_ID = "20260131-120000-1a2b3c"
SCRIPT = Script("/home/jovyan/work/my project/train.py", "my project/train.py", "/home/jovyan/work")


def machine(**changes: Any) -> Machine:
    facts: dict[str, Any] = {
        "cpus": 4,
        "devices": (),
        "simulated": False,
        "launcher": ("torchrun",),
        "python": "/opt/kernel/bin/python",
        "runs_folder": "/home/jovyan/work/.gpucamp/runs",
    }
    return Machine(**{**facts, **changes})


def codes(processes: int | None = None, other_runs: int = 0, **changes: Any) -> list[str]:
    request = LaunchRequest("train.py", processes=processes)
    plan = make_plan(request, SCRIPT, machine(**changes), RUN_ID, other_runs=other_runs)
    for advice in plan.advice:
        assert "{" not in advice.render(lambda text: text)
    return [advice.code for advice in plan.advice]


def test_the_whole_command_and_environment() -> None:
    request = LaunchRequest("x", ("--data", "a b", "it's"), 2)
    plan = make_plan(request, SCRIPT, machine(devices=("GPU-a", "GPU-b")), RUN_ID)
    folder = f"/home/jovyan/work/.gpucamp/runs/{RUN_ID}"
    assert plan.argv == (
        *("torchrun", "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", "2"),
        *("--log-dir", f"{folder}/ranks", "--redirects", "3", "--tee", "3"),
        *("/home/jovyan/work/my project/train.py", "--data", "a b", "it's"),
    )
    assert shlex.split(plan.command) == list(plan.argv)
    assert plan.env == {
        "GPUCAMP_RUN_ID": RUN_ID,
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "2",
        "NCCL_DEBUG": "WARN",
        "NCCL_SOCKET_IFNAME": "lo",
        "GLOO_SOCKET_IFNAME": "lo",
        "PYTHONPATH": AT_EXIT,
        "TORCH_DISTRIBUTED_DEBUG": "INFO",
        "TORCH_NCCL_DUMP_ON_TIMEOUT": "1",
        "TORCH_FR_BUFFER_SIZE": "2000",
        "TORCH_FR_DUMP_TEMP_FILE": f"{folder}/flight_recorder_",
        "TORCH_NCCL_DEBUG_INFO_TEMP_FILE": f"{folder}/flight_recorder_",
    }
    assert plan.advice == ()
    assert plan.terminal_command.startswith("cd /home/jovyan/work && PYTHONUNBUFFERED=1 ")
    assert plan.terminal_command.endswith(plan.command)
    assert "GPUCAMP_RUN_ID" not in plan.terminal_command


def test_accelerate_is_told_that_there_is_no_gpu() -> None:
    """Else its processes do not see each other, and each trains alone."""
    for facts, told, visible in (
        ({}, "true", None),
        ({"devices": ("GPU-a",), "simulated": True}, "true", ""),
        ({"devices": ("GPU-a",)}, None, None),
    ):
        plan = make_plan(LaunchRequest("x"), SCRIPT, machine(**facts), RUN_ID)
        assert plan.env.get("ACCELERATE_USE_CPU") == told
        assert plan.env.get("CUDA_VISIBLE_DEVICES") == visible
    asked = LaunchRequest("x", environment={"ACCELERATE_USE_CPU": "false"})
    assert make_plan(asked, SCRIPT, machine(), RUN_ID).env["ACCELERATE_USE_CPU"] == "false"


@pytest.mark.parametrize(
    ("facts", "default", "maximum", "backend"),
    [
        ({"devices": ("GPU-a",)}, 1, 4, "nccl"),
        ({"devices": tuple("abcdefgh")}, 8, 8, "nccl"),
        ({"devices": ("GPU-a",), "simulated": True}, 4, 4, "gloo"),
        ({"devices": ("MIG-a", "MIG-b"), "mig": True}, 1, 4, "nccl"),
        ({"devices": ("MIG-a",), "mig": True, "simulated": True}, 1, 4, "gloo"),
        ({"cpus": 1}, 2, 2, "gloo"),
        ({"cpus": 16}, 4, 16, "gloo"),
        ({"cpus": 500}, 4, 64, "gloo"),
    ],
)
def test_numbers_that_fit_the_machine(
    facts: dict[str, Any], default: int, maximum: int, backend: str
) -> None:
    here = machine(**facts)
    assert (here.default_processes, here.max_processes, here.backend) == (default, maximum, backend)
    plan = make_plan(LaunchRequest("x"), SCRIPT, here, RUN_ID)
    assert plan.processes == default
    assert int(plan.env["OMP_NUM_THREADS"]) >= 1


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    [
                        *("script", "module", "arguments", "processes", "working_directory"),
                        *("environment", "max_restarts", "local_ranks_filter", "id", "x"),
                    ]
                ),
                inner,
                max_size=6,
            )
        ),
    )
)
def test_any_json_is_a_request_or_a_refusal(body: object) -> None:
    try:
        request = parse_request(body, 4)
    except BadRequest as error:
        assert str(error)
    else:
        assert request.processes is None or 1 <= request.processes <= 4
        assert bool(request.script) != bool(request.module) or not request.module
        plan = make_plan(request, SCRIPT, machine(), RUN_ID)
        assert shlex.split(plan.command) == list(plan.argv)


@given(st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]))))
def test_arguments_arrive_as_they_are(arguments: list[str]) -> None:
    try:
        request = parse_request({"script": "t.py", "arguments": arguments}, 2)
    except BadRequest:
        return  # too long
    plan = make_plan(request, SCRIPT, machine(), RUN_ID)
    assert list(plan.argv)[-len(arguments) :] == arguments or not arguments
    assert shlex.split(plan.command) == list(plan.argv)


def test_what_is_asked_for_is_in_the_command_and_in_the_environment() -> None:
    request = LaunchRequest(
        "x",
        processes=4,
        environment={"OMP_NUM_THREADS": "7", "NCCL_DEBUG": "INFO", "SEED": "a b"},
        max_restarts=2,
        shown_ranks=(0, 3),
    )
    plan = make_plan(request, SCRIPT, machine(), RUN_ID)
    words = ["--max-restarts", "2", "--local-ranks-filter", "0,3", SCRIPT.path]
    assert list(plan.argv)[-5:] == words
    assert plan.hidden_ranks == (1, 2)
    assert (plan.env["OMP_NUM_THREADS"], plan.env["NCCL_DEBUG"]) == ("7", "INFO")
    assert "SEED='a b' " in plan.terminal_command
    assert child_environment({"SEED": "old"}, plan)["SEED"] == "a b"


def test_a_filter_that_shows_all_ranks_hides_none() -> None:
    plan = make_plan(LaunchRequest("x", processes=2, shown_ranks=(0, 1)), SCRIPT, machine(), RUN_ID)
    assert plan.hidden_ranks == () and "--local-ranks-filter" not in plan.argv


def test_a_module() -> None:
    module = Script("pack.train", "pack.train", "/home/jovyan/work", is_module=True)
    request = LaunchRequest(module="pack.train", arguments=("--lr", "1"))
    plan = make_plan(request, module, machine(), RUN_ID)
    assert list(plan.argv)[-4:] == ["--module", "pack.train", "--lr", "1"]
    assert plan.is_module and plan.script == "pack.train"


def test_advice_about_the_machine() -> None:
    assert codes() == []
    assert codes(2, devices=("GPU-a",)) == ["more-processes-than-gpus"]
    assert codes(2, cpus=1) == ["more-processes-than-cpus"]
    assert codes(1, devices=("MIG-a", "MIG-b"), mig=True) == ["mig"]
    assert codes(1, devices=("MIG-a",), mig=True) == []
    assert codes(1, devices=("GPU-a",), shared=True) == ["shared"]
    assert codes(other_runs=1) == ["other-runs"]
    assert codes(2, shm_free_bytes=10**6) == ["shm"]
    assert codes(2, disk_free_bytes=10**6) == ["disk"]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("simulated", [False, True])
def test_ddp_over_mig_instances_is_refused(count: int, simulated: bool) -> None:
    here = machine(devices=("MIG-a", "MIG-b")[:count], mig=True, simulated=simulated)
    with pytest.raises(BadRequest, match="one instance only.*Use 1 process, or .* whole GPUs"):
        make_plan(LaunchRequest("x", processes=2), SCRIPT, here, RUN_ID)
    assert make_plan(LaunchRequest("x", processes=1), SCRIPT, here, RUN_ID).processes == 1


@pytest.mark.parametrize(
    ("environ", "mig", "shared"),
    [
        ({}, False, False),
        ({"GPUCAMP_DEVICES": "GPU-a"}, False, False),
        ({"GPUCAMP_DEVICES": "GPU-a", "GPUCAMP_MIG": "0", "GPUCAMP_SHARED": "0"}, False, False),
        ({"GPUCAMP_DEVICES": "MIG-a,MIG-b"}, True, False),
        ({"GPUCAMP_DEVICES": "GPU-a", "GPUCAMP_MIG": "1"}, True, False),
        ({"GPUCAMP_DEVICES": "GPU-a", "GPUCAMP_SHARED": "1"}, False, True),
    ],
)
def test_what_the_container_says_of_its_devices(
    environ: dict[str, str], mig: bool, shared: bool, tmp_path: Path
) -> None:
    here = read_machine(environ, str(tmp_path), "/usr/bin/python3")
    assert (here.mig, here.shared) == (mig, shared)


def test_no_secret_and_no_old_rank_reaches_the_run() -> None:
    server = {
        "PATH": "/bin",
        "HOME": "/home/jovyan",
        "WANDB_API_KEY": "the participant's own",
        "JUPYTERHUB_API_TOKEN": "t",
        "JUPYTERHUB_COOKIE_SECRET": "t",
        "JPY_API_TOKEN": "t",
        "JUPYTER_TOKEN": "t",
        "CONFIGPROXY_AUTH_TOKEN": "t",
        "RANK": "5",
        "MASTER_ADDR": "elsewhere",
        "PET_NPROC_PER_NODE": "64",
        "TORCHELASTIC_RUN_ID": "x",
        "OMP_NUM_THREADS": "99",
    }
    plan = make_plan(LaunchRequest("x"), SCRIPT, machine(), RUN_ID)
    environment = child_environment(server, plan)
    assert environment == {
        "PATH": "/bin",
        "HOME": "/home/jovyan",
        "WANDB_API_KEY": "the participant's own",
        **plan.env,
        "GPUCAMP_DDP_EXIT_CODE": f"{plan.folder}/exit-code",
    }
    assert "GPUCAMP_DDP_EXIT_CODE" not in plan.terminal_command


@pytest.mark.parametrize(
    ("asked", "server", "path"),
    [
        ({}, {}, [AT_EXIT]),
        ({}, {"PYTHONPATH": "/mine"}, [AT_EXIT, "/mine"]),
        ({"PYTHONPATH": "/asked"}, {"PYTHONPATH": "/mine"}, [AT_EXIT, "/asked"]),
        ({"PYTHONPATH": ""}, {"PYTHONPATH": "/mine"}, [AT_EXIT]),
    ],
)
def test_what_python_finds_before_is_found_after_ours(
    asked: dict[str, str], server: dict[str, str], path: list[str]
) -> None:
    plan = make_plan(LaunchRequest("x", environment=asked), SCRIPT, machine(), RUN_ID)
    assert child_environment(server, plan)["PYTHONPATH"] == os.pathsep.join(path)
