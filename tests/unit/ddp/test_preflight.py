"""Advice from a script's text: what it says, and where it must keep quiet."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_ext.ddp.preflight import advise

EXAMPLES = Path(__file__).parents[3] / "images" / "examples"

GOOD = """
import os, torch
import torch.distributed as dist
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler
torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
dist.init_process_group("nccl")
sampler = DistributedSampler(data)
loader = DataLoader(data, sampler=sampler)
for epoch in range(3):
    sampler.set_epoch(epoch)
if dist.get_rank() == 0:
    torch.save(model, "model.pt")
dist.destroy_process_group()
"""


def codes(source: str) -> list[str]:
    found = advise(source.encode())
    for advice in found:
        assert advice.render(lambda text: text)
    return [advice.code for advice in found]


def test_a_good_script_and_our_own_example_get_none() -> None:
    assert codes(GOOD) == []
    assert codes((EXAMPLES / "train_ddp.py").read_text()) == []


@pytest.mark.parametrize(
    ("without", "code"),
    [
        ('dist.init_process_group("nccl")', "no-process-group"),
        ("sampler.set_epoch(epoch)", "no-set-epoch"),
        ('torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))', "no-local-rank"),
        ("dist.destroy_process_group()", "no-destroy"),
    ],
)
def test_what_is_missing_is_named(without: str, code: str) -> None:
    replacement = "pass" if "epoch(" in without else 'torch.device("cuda")'
    assert codes(GOOD.replace(without, replacement)) == [code]


def test_a_loader_without_a_sampler() -> None:
    source = GOOD.replace("DistributedSampler", "Sampler")
    assert codes(source) == ["no-distributed-sampler"]


@pytest.mark.parametrize(
    ("save", "told"),
    [
        ('torch.save(model, "m.pt")', True),
        ('if True:\n    torch.save(model, "m.pt")', True),
        ('if local_rank == 0:\n    torch.save(model, "m.pt")', False),
        ('if is_main_process():\n    torch.save(model, "m.pt")', False),
        ('if os.environ["RANK"] == "0":\n    torch.save(model, "m.pt")', False),
        ('rank == 0 and torch.save(model, "m.pt")', False),
        ('def save():\n    if rank != 0:\n        return\n    torch.save(model, "m.pt")', False),
        ('def save():\n    torch.save(model, "m.pt")', True),
    ],
)
def test_saving_in_every_rank(save: str, told: bool) -> None:
    source = GOOD.replace('if dist.get_rank() == 0:\n    torch.save(model, "model.pt")', save)
    assert codes(source) == (["all-ranks-save"] if told else [])


@pytest.mark.parametrize(
    "source",
    [
        "from accelerate import Accelerator\n",
        "import lightning as L\n",
        "import pytorch_lightning.callbacks\n",
        "from transformers import Trainer\n",
    ],
)
def test_frameworks_that_do_it_themselves(source: str) -> None:
    assert codes(source) == []


def test_a_syntax_error_names_its_line() -> None:
    (advice,) = advise(b"x = 1\nif x\n    y\n")
    assert advice.code == "syntax-error" and "line 2" in advice.render(lambda text: text)


@given(st.binary(max_size=300))
def test_any_bytes_are_an_acceptable_input(source: bytes) -> None:
    advise(source)


def test_a_very_deep_script_is_an_acceptable_input() -> None:
    advise(b"x = " + b"-" * 100_000 + b"1")
    advise(b"x = " + b"(" * 5_000 + b")" * 5_000)
    advise(b"x = 1" + b"+1" * 50_000)
