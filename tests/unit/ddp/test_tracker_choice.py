"""Which trackers get the numbers of a run, and what of the surroundings counts."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from server_ext.ddp.launch_plan import Script
from server_ext.ddp.launch_request import LaunchRequest
from server_ext.ddp.preflight import examine
from server_ext.ddp.trackers.choice import (
    NAMES,
    TENSORBOARD,
    WANDB,
    Surroundings,
    choose,
    parse_trackers,
)
from server_ext.ddp.trackers.surroundings import look, trackers_for
from server_ext.errors import BadRequest

READY = Surroundings("/work/runs", "/work/runs", "key", "train")


def names(asked: tuple[str, ...] | None, around: Surroundings, own: tuple[str, ...]) -> list[str]:
    return [one.name for one in choose(asked, around, own)]


def test_what_is_set_up_is_used_and_nothing_else() -> None:
    assert names(None, Surroundings(new_log_folder="/work/runs"), ()) == []
    assert names(None, READY, ()) == [TENSORBOARD, WANDB]
    for own in itertools.chain.from_iterable(itertools.combinations(NAMES, n) for n in range(3)):
        assert set(names(None, READY, own)) == set(NAMES) - set(own)


def test_what_is_asked_for_counts() -> None:
    assert names((), READY, ()) == []
    assert names((WANDB,), READY, (WANDB,)) == [WANDB]
    (made,) = choose((TENSORBOARD,), Surroundings(new_log_folder="/work/runs"), ())
    assert made.where == "/work/runs"


@pytest.mark.parametrize("state", ["", "off"])
def test_wandb_without_a_key_is_refused_with_what_to_do(state: str) -> None:
    assert names(None, Surroundings(wandb=state), ()) == []
    with pytest.raises(BadRequest, match="wandb login"):
        choose((WANDB,), Surroundings(wandb=state), ())


@pytest.mark.parametrize("value", ["wandb", ["mlflow"], [1], {}, 3, [["wandb"]], [None]])
def test_other_requests_are_refused(value: object) -> None:
    with pytest.raises(BadRequest, match="tensorboard, wandb"):
        parse_trackers(value)


def test_a_request_keeps_the_order_and_no_doubles() -> None:
    assert parse_trackers(None) is None
    assert parse_trackers([]) == ()
    assert parse_trackers([WANDB, TENSORBOARD, WANDB]) == (TENSORBOARD, WANDB)


def found(folder: Path, **environ: str) -> Surroundings:
    return look({"HOME": str(folder), **environ}, str(folder), "models/train.py")


def test_a_folder_beside_the_script_or_a_variable_names_the_log_folder(tmp_path: Path) -> None:
    assert found(tmp_path).log_folder == ""
    assert found(tmp_path).new_log_folder == str(tmp_path / "runs")
    (tmp_path / "tb_logs").mkdir()
    assert found(tmp_path).log_folder == str(tmp_path / "tb_logs")
    (tmp_path / "runs").write_text("a file is no folder")
    assert found(tmp_path).log_folder == str(tmp_path / "tb_logs")
    assert found(tmp_path, TENSORBOARD_LOG_DIR="../logs").log_folder == str(
        tmp_path.parent / "logs"
    )
    assert found(tmp_path, TENSORBOARD_LOG_DIR="/data/logs").log_folder == "/data/logs"


def test_a_key_is_found_and_never_told(tmp_path: Path) -> None:
    assert found(tmp_path).wandb == ""
    assert found(tmp_path, WANDB_API_KEY=" ").wandb == ""
    seen = found(tmp_path, WANDB_API_KEY="s3cret")
    assert seen.wandb == "key" and "s3cret" not in repr(seen)
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine api.wandb.ai login user password s3cret\n")
    netrc.chmod(0o600)
    assert found(tmp_path).wandb == "key"
    assert found(tmp_path, WANDB_BASE_URL="https://wandb.school.example:8443/").wandb == ""
    netrc.write_text("machine wandb.school.example login user password s3cret\n")
    assert found(tmp_path, WANDB_BASE_URL="https://wandb.school.example:8443/").wandb == "key"
    assert found(tmp_path, NETRC=str(tmp_path / "none")).wandb == ""
    netrc.write_bytes(b"machine \xff\xfe nonsense\n")
    assert found(tmp_path).wandb == ""
    assert found(tmp_path, WANDB_BASE_URL="http://[broken").wandb == ""


@pytest.mark.parametrize(
    ("variables", "state"),
    [
        ({"WANDB_MODE": "offline"}, "offline"),
        ({"WANDB_MODE": "dryrun", "WANDB_API_KEY": "k"}, "offline"),
        ({"WANDB_MODE": "disabled", "WANDB_API_KEY": "k"}, "off"),
        ({"WANDB_DISABLED": "true", "WANDB_API_KEY": "k"}, "off"),
        ({"WANDB_MODE": "online", "WANDB_API_KEY": "k"}, "key"),
        ({"WANDB_MODE": "online"}, ""),
    ],
)
def test_wandbs_own_variables_count(tmp_path: Path, variables: dict[str, str], state: str) -> None:
    assert found(tmp_path, **variables).wandb == state


def test_the_project_is_wandbs_variable_or_the_script(tmp_path: Path) -> None:
    assert found(tmp_path).wandb_project == "train"
    assert found(tmp_path, WANDB_PROJECT="class-7").wandb_project == "class-7"


def test_the_runs_variables_count_before_the_servers_and_its_secrets_do_not(tmp_path: Path) -> None:
    script = Script(str(tmp_path / "train.py"), "train.py", str(tmp_path))
    server = {"HOME": str(tmp_path), "WANDB_MODE": "offline", "JPY_API_TOKEN": "x"}
    (made,) = trackers_for(LaunchRequest("train.py"), script, server)
    assert (made.name, made.offline) == (WANDB, True)
    off = LaunchRequest("train.py", environment={"WANDB_MODE": "disabled"})
    assert trackers_for(off, script, server) == ()


@pytest.mark.parametrize(
    ("source", "own"),
    [
        ("print('loss=1')", set()),
        ("import wandb\nwandb.init()", {WANDB}),
        ("from torch.utils.tensorboard import SummaryWriter\nw = SummaryWriter()", {TENSORBOARD}),
        ("from transformers import Trainer\nTrainer(m).train()", {WANDB, TENSORBOARD}),
        ("import lightning as L\nL.Trainer().fit(m)", {WANDB, TENSORBOARD}),
        ("from accelerate import Accelerator\na = Accelerator()", set()),
        ("not python(", set()),
    ],
)
def test_a_script_that_logs_itself_is_known(source: str, own: set[str]) -> None:
    assert examine(source.encode()).trackers == own


WITHIN = "import wandb, os\nfrom torch.utils.tensorboard import SummaryWriter\n{}\n"


@pytest.mark.parametrize(
    "code",
    [
        "wandb.init(project='a')",
        "w = SummaryWriter('runs')",
        "def main():\n    wandb.init()\nmain()",
        "if True:\n    w = SummaryWriter()",
    ],
)
def test_a_log_that_every_rank_opens_is_advised_against(code: str) -> None:
    told = examine(WITHIN.format(code).encode()).advice
    (advice,) = [one for one in told if one.code == "all-ranks-log"]
    assert "rank == 0" in advice.render(lambda text: text)


@pytest.mark.parametrize(
    "code",
    [
        "if rank == 0:\n    wandb.init(project='a')",
        "if int(os.environ['RANK']) != 0:\n    os._exit(0)\nwandb.init()",
        "wandb.init(group='all', name=str(rank))",
        "wandb.init(mode='online' if rank == 0 else 'disabled')",
        "w = SummaryWriter(f'runs/{rank}') ",
        "w = SummaryWriter() if rank == 0 else None",
        "def log():\n    wandb.init()\nif rank == 0:\n    log()",
    ],
)
def test_a_log_of_one_rank_or_of_each_is_left_alone(code: str) -> None:
    told = examine(WITHIN.format(code).encode()).advice
    assert "all-ranks-log" not in {one.code for one in told}
