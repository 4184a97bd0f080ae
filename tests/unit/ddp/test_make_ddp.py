"""What is proposed for a plain training script. That it trains is shown in tests/engine."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_ext.ddp.make_ddp import Proposal, diff, propose
from server_ext.ddp.preflight import examine

ROOT = Path(__file__).parents[3]
PLAIN = sorted((Path(__file__).parent / "plain").glob("*.py"))
TRAIN_SINGLE = ROOT / "images" / "examples" / "train_single.py"

HEAD = """import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
data = TensorDataset(torch.zeros(8, 2))
model = nn.Linear(2, 1)
"""
LOADER = "loader = DataLoader(data, batch_size=2, shuffle=True)\n"
OPTIMIZER = "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
LOOP = """for epoch in range(2):
    for (x,) in loader:
        loss = model(x).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""
WHOLE = HEAD + LOADER + OPTIMIZER + LOOP


def made(source: str) -> Proposal:
    proposal = propose(source)
    assert proposal.reasons == (), proposal.reasons
    compile(proposal.text, "x.py", "exec")
    for note in (*proposal.changes, *proposal.remarks):
        assert "{" not in note.view(str)["message"]
    return proposal


def reasons(source: str) -> list[str]:
    proposal = propose(source)
    assert proposal.text == "" and proposal.changes == ()
    return [note.view(str)["message"] for note in proposal.reasons]


def said(proposal: Proposal) -> str:
    return " ".join(note.view(str)["message"] for note in proposal.remarks)


@pytest.mark.parametrize("path", [TRAIN_SINGLE, *PLAIN], ids=lambda path: path.stem)
def test_what_is_proposed_has_all_that_ddp_needs(path: Path) -> None:
    source = path.read_text()
    proposal = made(source)
    left = {advice.code for advice in examine(proposal.text.encode()).advice}
    assert left <= {"no-set-epoch"}
    assert ("no-set-epoch" in left) == ("set_epoch" in said(proposal))
    # nothing of the script is lost but what was replaced
    gone = [
        line[1:].strip()
        for line in diff(source, proposal.text, "a", "b").splitlines()[2:]
        if line.startswith("-")
    ]
    assert len(gone) <= 8 and "def " not in " ".join(gone)


def test_the_whole_of_a_small_one() -> None:
    assert (
        made(WHOLE).text
        == """import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
import os
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data.distributed import DistributedSampler

# torchrun starts this script once for each GPU and sets LOCAL_RANK
local_rank = int(os.environ["LOCAL_RANK"])
dist.init_process_group("gloo")

data = TensorDataset(torch.zeros(8, 2))
model = nn.Linear(2, 1)
loader = DataLoader(data, batch_size=2, sampler=DistributedSampler(data))
model = DistributedDataParallel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(2):
    loader.sampler.set_epoch(epoch)
    for (x,) in loader:
        loss = model(x).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

dist.destroy_process_group()
"""
    )


@pytest.mark.parametrize(
    ("loader", "becomes"),
    [
        (
            "DataLoader(data, 2, True)",
            "DataLoader(data, 2, False, sampler=DistributedSampler(data))",
        ),
        ("DataLoader(data)", "DataLoader(data, sampler=DistributedSampler(data, shuffle=False))"),
        (
            "DataLoader(dataset=data, shuffle=(1 > 0), num_workers=2,)",
            "DataLoader(dataset=data, sampler=DistributedSampler(data, shuffle=1 > 0), "
            "num_workers=2,)",
        ),
        (
            "DataLoader(\n    data,\n    shuffle=True,  # größe\n)",
            "DataLoader(\n    data,\n    sampler=DistributedSampler(data),  # größe\n)",
        ),
        (
            "DataLoader(TensorDataset(torch.zeros(4, 2)), shuffle=True)",
            "DataLoader(train_dataset, sampler=DistributedSampler(train_dataset))",
        ),
        (
            "torch.utils.data.DataLoader(data, shuffle=False)",
            "torch.utils.data.DataLoader(data, sampler=DistributedSampler(data, shuffle=False))",
        ),
    ],
)
def test_each_way_to_make_a_loader(loader: str, becomes: str) -> None:
    text = made(WHOLE.replace(LOADER, f"loader = {loader}\n")).text
    assert f"loader = {becomes}\n" in text


@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        ("model.to('cuda:0')", 'model.to("cuda")'),
        ("model.cuda(0)", "model.cuda(local_rank)"),
        ("d = torch.device('cuda', 0)", "d = torch.device('cuda', local_rank)"),
        ("torch.cuda.set_device(0)", "torch.cuda.set_device(local_rank)"),
        ("model.cuda()", "model.cuda()"),
    ],
)
def test_no_process_takes_the_first_gpu(line: str, becomes: str) -> None:
    text = made(WHOLE.replace(LOADER, f"{line}\n{LOADER}")).text
    assert f"\n{becomes}\n" in text
    assert 'dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")' in text


@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        ("print(model.weight)", "print(model.module.weight)"),
        ("model.eval()", "model.eval()"),
        ("torch.save(model.state_dict(), 'x')", "    torch.save(model.module.state_dict(), 'x')"),
        ("model.name = 'x'", "model.name = 'x'"),
    ],
)
def test_the_model_inside_is_asked_after_the_wrapping_only(line: str, becomes: str) -> None:
    text = made(WHOLE.replace(OPTIMIZER, f"{line}\n{OPTIMIZER}") + f"{line}\n").text
    assert text.count(f"\n{becomes}\n") >= 1
    assert line.split("(")[0] in text.split("DistributedDataParallel(model)")[0]


def test_saves_that_are_guarded_already_stay() -> None:
    source = WHOLE + "if rank == 0:\n    torch.save(model.state_dict(), 'x')\n"
    assert "if dist.get_rank() == 0:" not in made(source).text


def test_what_a_person_should_look_at_is_a_remark() -> None:
    source = (
        HEAD.replace("TensorDataset(torch.zeros(8, 2))", "D('.', download=True)")
        + "a, b = torch.utils.data.random_split(data, [4, 4])\n"
        + LOADER
        + OPTIMIZER
        + LOOP
        + "        if loss < 0.1:\n            break\n"
        + "wandb.init()\nmodel.save_pretrained('x')\n"
    )
    text = said(made(source))
    for word in ("download it once", "split alike", "leaves the loop", "would log", "write this"):
        assert word in text
    assert "N times as much" in said(made(WHOLE))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("", "no backward()"),
        ("def f(:", "cannot read"),
        ("\0", "cannot read"),
        ("(" * 100_000, "cannot read"),
        (WHOLE.replace(OPTIMIZER, ""), "No optimizer"),
        (WHOLE.replace(LOADER, "loader = [(data[0],)]\n"), "No DataLoader"),
        ("import lightning\n" + WHOLE, "lightning does it for you"),
        (WHOLE + "torch.distributed.init_process_group()\n", "already"),
        (WHOLE.replace("nn.Linear(2, 1)", "nn.DataParallel(nn.Linear(2, 1))"), "another way"),
        (WHOLE.replace("SGD", "LBFGS"), "LBFGS"),
        (WHOLE + "os.environ['CUDA_VISIBLE_DEVICES'] = '0'\n", "CUDA_VISIBLE_DEVICES"),
        (WHOLE.replace("shuffle=True", "sampler=s"), "a sampler"),
        (WHOLE.replace("shuffle=True", "batch_sampler=s"), "a sampler"),
        (WHOLE.replace("shuffle=True", "**options"), "a sampler"),
        (WHOLE.replace("(data, ", "(*data, "), "a sampler"),
        (
            WHOLE.replace(
                "DataLoader(data, batch_size=2, shuffle=True)", "[DataLoader(f(), 2, True)]"
            ),
            "that can be named",
        ),
        (WHOLE + "input('go on?')\n", "asks a person"),
        (
            "class D(torch.utils.data.IterableDataset): pass\n"
            + WHOLE.replace("TensorDataset(torch.zeros(8, 2))", "D()"),
            "IterableDataset",
        ),
    ],
)
def test_where_it_cannot_the_reason_is_told(source: str, says: str) -> None:
    assert says in " ".join(reasons(source))


PARTS = st.sampled_from(
    [HEAD, LOADER, OPTIMIZER, LOOP, "if __name__ == '__main__': main()\n", '"""Größe."""\n']
    + [
        "from __future__ import annotations\n",
        "def main():\n    pass\n",
        "\n\n",
        "x = 'é'; y = 1\n",
    ]
    + ["if __name__ == '__main__':\n    main()\n", "torch.save(model, 'x')\n", "# 'x'\n", "\t\n"]
    + ["if x: torch.save(model.state_dict(), f'{x}')\n", "model = model.to('cuda:0')", ";pass\n"]
)


@given(st.lists(PARTS, max_size=9), st.booleans())
def test_any_script_gives_python_or_reasons(parts: list[str], in_a_function: bool) -> None:
    source = "".join(parts)
    if in_a_function:
        source = "def train():\n" + "".join(f"    {line}\n" for line in source.split("\n"))
    proposal = propose(source)
    assert bool(proposal.text) != bool(proposal.reasons)
    if proposal.text:
        ast.parse(proposal.text)
        assert "DistributedDataParallel(model)" in proposal.text
        assert proposal.text.count("destroy_process_group") == 1
        again = propose(proposal.text)
        assert "already" in again.reasons[0].message


@given(st.text())
def test_any_text_is_acceptable(source: str) -> None:
    assert propose(source).text or propose(source).reasons
