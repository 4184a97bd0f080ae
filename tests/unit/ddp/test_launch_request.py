"""The form of a launch's request: what is taken, and what is refused."""

from __future__ import annotations

import math

import pytest

from server_ext.ddp.launch_request import LaunchRequest, parse_request
from server_ext.errors import BadRequest

RUN_ID = "20260131-120000-1a2b3c"


def test_the_whole_of_a_request() -> None:
    body = {
        "script": "a/train.py",
        "arguments": ["--lr", "0.1"],
        "processes": 3,
        "working_directory": "a",
        "environment": {"WANDB_MODE": "offline", "EMPTY": ""},
        "max_restarts": 1,
        "local_ranks_filter": [2, 0, 2],
        "id": RUN_ID,
    }
    assert parse_request(body, 4) == LaunchRequest(
        script="a/train.py",
        arguments=("--lr", "0.1"),
        processes=3,
        working_directory="a",
        run_id=RUN_ID,
        environment={"WANDB_MODE": "offline", "EMPTY": ""},
        max_restarts=1,
        shown_ranks=(0, 2),
    )
    assert parse_request({"module": "pack.träin"}, 4) == LaunchRequest(module="pack.träin")


@pytest.mark.parametrize(
    "processes",
    [0, -1, 5, 10**9, True, False, 2.0, 1.5, math.nan, math.inf, "2", "all", [2], {"n": 2}],
)
def test_processes_that_are_refused(processes: object) -> None:
    with pytest.raises(BadRequest, match="whole number from 1 to 4"):
        parse_request({"script": "train.py", "processes": processes}, 4)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "train.py",
        {},
        {"script": None},
        {"script": 7},
        {"script": "a\0.py"},
        {"script": "\ud800.py"},
        {"script": "x" * 5000},
        {"script": "train.py", "gpus": 2},
        {"script": "train.py", "env": {"A": "x"}},
        {"script": "train.py", "module": "train"},
        {"module": ""},
        {"module": 7},
        {"module": "train.py "},
        {"module": "--help"},
        {"module": "a..b"},
        {"module": ".a"},
        {"module": "a/b"},
        {"module": "1a"},
        {"module": "a." * 3000 + "a"},
        {"script": "train.py", "environment": ["A=1"]},
        {"script": "train.py", "environment": {"A": 1}},
        {"script": "train.py", "environment": {"A": None}},
        {"script": "train.py", "environment": {"A": "x\0"}},
        {"script": "train.py", "environment": {"A": "\ud800"}},
        {"script": "train.py", "environment": {"": "x"}},
        {"script": "train.py", "environment": {"A=B": "x"}},
        {"script": "train.py", "environment": {"A B": "x"}},
        {"script": "train.py", "environment": {"Ä": "x"}},
        {"script": "train.py", "environment": {"1A": "x"}},
        {"script": "train.py", "environment": {"RANK": "0"}},
        {"script": "train.py", "environment": {"MASTER_PORT": "1"}},
        {"script": "train.py", "environment": {"PET_NPROC_PER_NODE": "64"}},
        {"script": "train.py", "environment": {"TORCHELASTIC_RUN_ID": "x"}},
        {"script": "train.py", "environment": {"GPUCAMP_RUN_ID": "x"}},
        {"script": "train.py", "environment": {"JUPYTERHUB_API_TOKEN": "x"}},
        {"script": "train.py", "environment": {f"A{n}": "" for n in range(65)}},
        {"script": "train.py", "environment": {"A": "x" * 40000}},
        {"script": "train.py", "max_restarts": -1},
        {"script": "train.py", "max_restarts": 11},
        {"script": "train.py", "max_restarts": True},
        {"script": "train.py", "max_restarts": "1"},
        {"script": "train.py", "max_restarts": 1.0},
        {"script": "train.py", "local_ranks_filter": "0"},
        {"script": "train.py", "local_ranks_filter": [4]},
        {"script": "train.py", "processes": 2, "local_ranks_filter": [2]},
        {"script": "train.py", "local_ranks_filter": [-1]},
        {"script": "train.py", "local_ranks_filter": [True]},
        {"script": "train.py", "arguments": "--lr 1"},
        {"script": "train.py", "arguments": [1]},
        {"script": "train.py", "arguments": ["a\0b"]},
        {"script": "train.py", "arguments": ["x"] * 300},
        {"script": "train.py", "arguments": ["x" * 40000]},
        {"script": "train.py", "working_directory": 1},
        {"script": "train.py", "id": "../../etc"},
        {"script": "train.py", "id": RUN_ID + "\n"},
    ],
)
def test_bodies_that_are_refused(body: object) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_request(body, 4)
    assert str(refused.value)
