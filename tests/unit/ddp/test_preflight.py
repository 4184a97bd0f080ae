"""Advice from a script's text: what it says, and where it must keep quiet."""

from __future__ import annotations

import socket
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_ext.ddp.fixed_ports import is_free, ports_of_arguments
from server_ext.ddp.preflight import examine, examine_file

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
SET_DEVICE = 'torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))'
SAVE = 'if dist.get_rank() == 0:\n    torch.save(model, "model.pt")'
SAMPLED = "sampler = DistributedSampler(data)\nloader = DataLoader(data, sampler=sampler)"


def codes(source: str) -> list[str]:
    found = examine(source.encode()).advice
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
        (SET_DEVICE, "no-local-rank"),
        ("dist.destroy_process_group()", "no-destroy"),
    ],
)
def test_what_is_missing_is_named(without: str, code: str) -> None:
    replacement = "pass" if "epoch(" in without else 'torch.device("cuda")'
    assert codes(GOOD.replace(without, replacement)) == [code]


@pytest.mark.parametrize(
    ("sampled", "told"),
    [
        ("loader = DataLoader(data)", True),
        ("loader = DataLoader(data, shuffle=True)\nsampler = DistributedSampler", False),
        ("sampler = Sampler(data)\nloader = DataLoader(data, sampler=sampler)", True),
        ("loader = DataLoader(data[dist.get_rank()::2])\nsampler = data", False),
        ("class Mine(torch.utils.data.Sampler): pass\nloader = DataLoader(data, Mine())", False),
        ("loader = DataLoader(data.shard(2, dist.get_rank()))", False),
        (
            "class Lines(torch.utils.data.IterableDataset): pass\nloader = DataLoader(Lines())",
            False,
        ),
        ("loader = DataLoader(split_dataset_by_node(data, 0, 2))", False),
        ("sampler = DistributedBucketSampler(data)\nloader = DataLoader(data, sampler)", False),
    ],
)
def test_how_the_data_is_shared_out(sampled: str, told: bool) -> None:
    source = GOOD.replace(SAMPLED, sampled)
    assert codes(source) == (["no-distributed-sampler"] if told else [])


@pytest.mark.parametrize(
    ("sampled", "calls", "told"),
    [
        (SAMPLED, "loader.sampler.set_epoch(epoch)", False),
        (SAMPLED, "train(model, sampler, epoch)\ndef train(m, s, e): s.set_epoch(e)", False),
        (SAMPLED, "T().go()\nclass T:\n def go(self): self.s.set_epoch(self.e)", False),
        (SAMPLED, 'hasattr(loader.sampler, "set_epoch")', False),
        (SAMPLED, "pass", True),
        (SAMPLED, "sampler.set_epoch(0)", True),
        (SAMPLED.replace("(data)", "(data, shuffle=False)", 1), "pass", False),
        (SAMPLED.replace("(data)", "(data, 2, 0, False)", 1), "pass", False),
        (SAMPLED, '"call sampler.set_epoch(epoch)"  # set_epoch', True),
    ],
)
def test_the_order_of_each_epoch(sampled: str, calls: str, told: bool) -> None:
    source = GOOD.replace(SAMPLED, sampled).replace("    sampler.set_epoch(epoch)", "    pass")
    source = source.replace("dist.destroy", calls + "\ndist.destroy")
    assert codes(source) == (["no-set-epoch"] if told else [])


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("torch.cuda.set_device(0)", True),
        ("model.cuda()", True),
        ('device = torch.device("cuda")', True),
        ("rank = dist.get_rank(); torch.cuda.set_device(rank)", False),
        ("device = dist.get_rank() % torch.cuda.device_count(); model.cuda(device)", False),
        ('model.to(f"cuda:{dist.get_rank()}")', False),
        ("model.cuda(local_rank)", True),  # nobody gives it a value
        ("torch.cuda.set_device(dist.get_node_local_rank())", False),
        ('mesh = init_device_mesh("cuda", (2,))', False),
        ('torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))', False),
        ("on_gpu = torch.cuda.is_available()", False),
        ("torch.cuda.manual_seed_all(1)", False),
    ],
)
def test_the_device_of_each_process(line: str, told: bool) -> None:
    source = GOOD.replace(SET_DEVICE, line).replace("dist.get_rank() == 0", "leader")
    assert codes(source) == (["no-local-rank"] if told else [])


@pytest.mark.parametrize(
    ("save", "told"),
    [
        ('torch.save(model, "m.pt")', True),
        ('from torch import save\nsave(model, "m.pt")', True),
        ('if True:\n    torch.save(model, "m.pt")', True),
        ('if __name__ == "__main__":\n    torch.save(model, "m.pt")', True),
        ('if epoch == 0:\n    torch.save(model, "m.pt")', True),
        ('if domain == 0:\n    torch.save(model, "m.pt")', True),
        ('if "main" in name:\n    torch.save(model, "m.pt")', True),
        ('if rank != 0:\n    torch.save(model, "m.pt")', True),
        ('if rank == 0:\n    print(1)\nelse:\n    torch.save(model, "m.pt")', True),
        ('if rank >= 0:\n    torch.save(model, "m.pt")', True),
        ('if local_rank != -1:\n    torch.save(model, "m.pt")', True),
        ('if not is_main_process():\n    torch.save(model, "m.pt")', True),
        ('if local_rank == 0:\n    torch.save(model, "m.pt")', False),
        ('if args.local_rank in (-1, 0):\n    torch.save(model, "m.pt")', False),
        ('if 0 == rank:\n    torch.save(model, "m.pt")', False),
        ('if rank < 1:\n    torch.save(model, "m.pt")', False),
        ('if not rank:\n    torch.save(model, "m.pt")', False),
        ('if rank:\n    pass\nelse:\n    torch.save(model, "m.pt")', False),
        ('if gpu_id == 0 and epoch % 2 == 0:\n    torch.save(model, "m.pt")', False),
        ('if not distributed or rank == 0:\n    torch.save(model, "m.pt")', False),
        ('if is_main_process():\n    torch.save(model, "m.pt")', False),
        ('if accelerator.is_main_process:\n    torch.save(model, "m.pt")', False),
        ('if self.trainer.is_global_zero:\n    torch.save(model, "m.pt")', False),
        ('if (rank := dist.get_rank()) == 0:\n    torch.save(model, "m.pt")', False),
        ('if os.environ["RANK"] == "0":\n    torch.save(model, "m.pt")', False),
        ('if int(os.environ.get("RANK", 0)) == 0:\n    torch.save(model, "m.pt")', False),
        ('rank == 0 and torch.save(model, "m.pt")', False),
        ('rank != 0 or torch.save(model, "m.pt")', False),
        ('torch.save(model, "m.pt") if rank == 0 else None', False),
        ('writes = rank == 0\nif writes:\n    torch.save(model, "m.pt")', False),
        ('skip = rank != 0\nif not skip:\n    torch.save(model, "m.pt")', False),
        ('def w():\n    return dist.get_rank() == 0\nif w():\n    torch.save(1, "m")', False),
        (
            "def w():\n    if dist.get_rank() == 0:\n        return True\n    return False\n"
            'if w():\n    torch.save(1, "m")',
            False,
        ),
        ('def save():\n    if rank != 0:\n        return\n    torch.save(model, "m.pt")', False),
        ('def save():\n    if rank == 0:\n        return\n    torch.save(model, "m.pt")', True),
        ('for e in x:\n    if rank > 0:\n        continue\n    torch.save(model, "m.pt")', False),
        ('def save():\n    torch.save(model, "m.pt")', True),
        ('def save():\n    torch.save(1, "m")\nif rank == 0:\n    save()', False),
        ('def save():\n    torch.save(1, "m")\nif rank == 0:\n    save()\nsave()', True),
        (
            "def save():\n    torch.save(1, 'm')\ndef end():\n    save()\nif rank == 0:\n    end()",
            False,
        ),
        ("def save(n):\n    torch.save(1, 'm')\n    save(n - 1)", True),
        ('@rank_zero_only\ndef save():\n    torch.save(model, "m.pt")\nsave()', False),
        ("@acc.on_main_process\ndef s():\n    torch.save(model, 'm.pt')\ns()", False),
        (
            "def once(f):\n    def g(*a):\n        if dist.get_rank() == 0:\n            f(*a)\n"
            "    return g\n@once\ndef s():\n    torch.save(model, 'm.pt')\ns()",
            False,
        ),
        ("match rank:\n    case 0:\n        torch.save(model, 'm.pt')", False),
        ('torch.save(model, f"m_{rank}.pt")', False),
        ('path = "m%d.pt" % rank\ntorch.save(model, path)', False),
        ("buffer = io.BytesIO()\ntorch.save(model, buffer)", False),
        ("accelerator.save(model, 'm.pt')", False),
    ],
)
def test_saving_in_every_rank(save: str, told: bool) -> None:
    assert codes(GOOD.replace(SAVE, save)) == (["all-ranks-save"] if told else [])


@pytest.mark.parametrize(
    "source",
    [
        "from accelerate import Accelerator\na = Accelerator()\nm = a.prepare(m)\n",
        "import accelerate\ndef go(accelerator):\n    accelerator.prepare(m)\n",
        "import lightning as L\nL.Trainer(devices=2).fit(m)\n",
        "import lightning as L\nfabric = L.Fabric()\nfabric.launch()\n",
        "import pytorch_lightning as pl\ntrainer = pl.Trainer(max_epochs=1)\n",
        "from lightning.pytorch.cli import LightningCLI\nLightningCLI()\n",
        "from transformers import Trainer\nTrainer(m).train()\n",
        "from transformers import Trainer\nclass Mine(Trainer): pass\nMine(m).train()\n",
        "from trl import SFTTrainer\nSFTTrainer(m).train()\n",
        "import deepspeed\ndeepspeed.initialize(m)\n",
        "import horovod.torch as hvd\nhvd.init()\n",
    ],
)
def test_frameworks_that_do_it_themselves(source: str) -> None:
    assert codes(source + "import torch\nmodel.cuda()\ntorch.save(model, 'm.pt')\n") == []


@pytest.mark.parametrize(
    "source",
    [
        "from transformers import AutoModel\nAutoModel.from_pretrained('x')\n",
        "from accelerate.utils import set_seed\nset_seed(1)\n",
        "from lightning import seed_everything\nseed_everything(1)\n",
        "class Trainer: pass\nTrainer().fit()\n",
        "from scipy.stats import rankdata\nrankdata([1])\n",
    ],
)
def test_a_helper_of_a_framework_or_a_trainer_of_ones_own_is_none(source: str) -> None:
    assert codes(source) == ["no-process-group"]


def test_what_another_package_may_set_up_is_not_called_missing() -> None:
    assert codes("from lab.dist import init_distributed\ninit_distributed()\n") == []
    assert codes("import importlib\nimportlib.import_module(name).main()\n") == []


def test_a_script_that_spawns_its_ranks_itself() -> None:
    source = (
        "import os, torch.multiprocessing as mp, torch.distributed as dist\n"
        "def run(rank):\n    os.environ['MASTER_PORT'] = '12355'\n"
        "    dist.init_process_group('gloo', rank=rank, world_size=2)\n"
        "mp.spawn(run, nprocs=2)\n"
    )
    assert codes(source) == ["spawns-itself"]


# ---- ports

INIT = 'dist.init_process_group("nccl")'


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('os.environ["MASTER_PORT"] = "29500"', True),
        ('os.environ.update(MASTER_PORT="29500")', True),
        ('os.environ.update({"MASTER_PORT": "29500"})', True),
        ("port = 29500\nos.environ['MASTER_PORT'] = str(port)", True),
        ('dist.init_process_group("gloo", init_method="tcp://127.0.0.1:29500")', True),
        ('dist.init_process_group("gloo", "tcp://[::1]:29500")', True),
        ('p = 29500\ndist.init_process_group(init_method=f"tcp://localhost:{p}")', True),
        ('parser.add_argument("--dist-url", default="tcp://127.0.0.1:29500")', True),
        ('if __name__ == "__main__":\n    os.environ["MASTER_PORT"] = "29500"', True),
        ('os.environ.setdefault("MASTER_PORT", "29500")', False),
        ('if "MASTER_PORT" not in os.environ:\n    os.environ["MASTER_PORT"] = "29500"', False),
        ('os.environ["MASTER_PORT"] = os.environ.get("MASTER_PORT", "29500")', False),
        ('def f():\n if "RANK" in os.environ: return\n os.environ["MASTER_PORT"] = "1"', False),
        ('dist.init_process_group("gloo", init_method="env://")', False),
        ('dist.init_process_group("gloo", init_method="file:///tmp/x:29500")', False),
        ('dist.init_process_group(init_method=f"tcp://{host}:{port}")', False),
        ('socket.connect("tcp://127.0.0.1:29500")', False),
        ('os.environ["MASTER_PORT"] = "none"', False),
    ],
)
def test_a_port_that_is_fixed_in_vain(line: str, told: bool) -> None:
    assert codes(GOOD.replace(INIT, INIT + "\n" + line)) == (["fixed-port"] if told else [])


def test_a_port_that_the_script_serves_is_tried() -> None:
    source = GOOD + 'store = dist.TCPStore("127.0.0.1", 29533, 2, True)\n'
    asked = []

    def taken(port: int) -> bool:
        asked.append(port)
        return False

    assert examine(source.encode(), free=lambda port: True).advice == ()
    (advice,) = examine(source.encode(), free=taken).advice
    assert (advice.code, asked) == ("port-taken", [29533])
    assert "train.py, line" in advice.render(lambda text: text)


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_whether_a_port_is_free(family: socket.AddressFamily, address: str) -> None:
    with socket.socket(family) as server:
        server.bind((address, 0))
        server.listen()
        port = server.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)


@pytest.mark.parametrize(
    ("arguments", "ports"),
    [
        (["--dist-url", "tcp://127.0.0.1:29500"], [29500]),
        (["--init_method=tcp://127.0.0.1:1234"], [1234]),
        (["--broker", "tcp://127.0.0.1:5555"], []),
        (["tcp://127.0.0.1:5555"], []),
        (["--dist-url", "env://"], []),
        (["--dist-url", "tcp://x:99999"], []),
        (["--dist-url"], []),
    ],
)
def test_ports_in_the_arguments(arguments: list[str], ports: list[int]) -> None:
    assert [one.port for one in ports_of_arguments(arguments)] == ports


# ---- helper modules


def told(folder: Path, script: str, module: bool = False, **files: str) -> list[str]:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    path = folder / script
    found = examine_file(path.read_bytes(), path, folder, folder, module=module).advice
    return [advice.code for advice in found]


SPLIT = {
    "train_py": """
        from lib.dist import setup, finish
        from lib import loop
        import torch
        setup()
        loop.run()
        finish()
    """,
    "lib__dist_py": """
        import os, torch, torch.distributed as dist
        def setup():
            dist.init_process_group()
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        def first(): return dist.get_rank() == 0
        def finish(): dist.destroy_process_group()
    """,
    "lib__loop_py": """
        import torch
        from torch.utils.data import DataLoader, DistributedSampler
        from .dist import first
        def run():
            sampler = DistributedSampler(data)
            for epoch in range(2):
                sampler.set_epoch(epoch)
            if first():
                torch.save(model, "m.pt")
    """,
}


def test_what_modules_of_the_folder_do_counts(tmp_path: Path) -> None:
    assert told(tmp_path, "train.py", **SPLIT) == []
    lib = tmp_path / "lib" / "loop.py"
    lib.write_text(lib.read_text().replace("if first():", "if True:"))
    script = tmp_path / "train.py"
    (advice,) = examine_file(script.read_bytes(), script, tmp_path, tmp_path).advice
    assert advice.code == "all-ranks-save"
    assert "lib/loop.py, line 10" in advice.render(lambda text: text)


def test_a_helper_that_saves_is_guarded_by_who_calls_it(tmp_path: Path) -> None:
    script = GOOD.replace(SAVE, "import helper\nif dist.get_rank() == 0:\n    helper.keep()")
    helper = "import torch\ndef keep():\n    torch.save(1, 'm.pt')\n"
    assert told(tmp_path, "train.py", train_py=script, helper_py=helper) == []


def test_modules_of_a_module_are_found_from_its_folder(tmp_path: Path) -> None:
    files = {
        "pack__train_py": "from . import setup\nfrom .more import end\nsetup.go()\nend()\n",
        "pack__setup_py": "import torch.distributed as d\ndef go(): d.init_process_group()\n",
        "pack__more_py": "import torch.distributed as d\ndef end(): d.destroy_process_group()\n",
    }
    assert told(tmp_path, "pack/train.py", module=True, **files) == []


def test_what_cannot_be_read_is_not_called_missing(tmp_path: Path) -> None:
    script = {"train_py": "import helper\nhelper.main()\n"}
    assert told(tmp_path, "train.py", **script) == ["no-process-group"]  # not there: not local
    assert told(tmp_path, "train.py", helper_py="x = (\n", **script) == []
    assert told(tmp_path, "train.py", helper_py="x = 1\n" * 100_000, **script) == []
    outside = tmp_path.parent / "outside.py"
    outside.write_text("x = 1\n")
    (tmp_path / "helper.py").unlink()
    (tmp_path / "helper.py").symlink_to(outside)
    assert told(tmp_path, "train.py", **script) == []


def test_modules_that_import_each_other_and_many_of_them_end(tmp_path: Path) -> None:
    many = {f"m{n}_py": f"import m{n + 1}, m0\nimport train\n" for n in range(100)}
    assert told(tmp_path, "train.py", train_py="import m0\n", **many) == []


# ---- any text


def test_a_syntax_error_names_its_line() -> None:
    (advice,) = examine(b"x = 1\nif x\n    y\n").advice
    assert advice.code == "syntax-error" and "line 2" in advice.render(lambda text: text)


@given(st.binary(max_size=300))
def test_any_bytes_are_an_acceptable_input(source: bytes) -> None:
    examine(source)


_PIECES = st.sampled_from(
    ["rank", "dist.get_rank()", "0", "==", "not ", "and", "or", "if ", ":", "\n", "\n    ", "else:"]
    + ["torch.save(m, 'x')", "def f():", "return", "f()", "import torch", "(", ")", "f'cuda:{r}'"]
    + ["os.environ['MASTER_PORT'] = ", "'tcp://h:1'", "TCPStore(h, ", "class A(A):", "@main\n"]
)


@given(st.lists(_PIECES, max_size=40))
def test_any_script_is_an_acceptable_input(pieces: list[str]) -> None:
    examine(" ".join(pieces).replace("\n ", "\n").encode())


def test_a_very_deep_script_is_an_acceptable_input() -> None:
    examine(b"x = " + b"-" * 100_000 + b"1")
    examine(b"x = " + b"(" * 5_000 + b")" * 5_000)
    examine(b"x = 1" + b"+1" * 50_000)
    examine(b"if " + b"not " * 300 + b"rank: torch.save(1, 'm')")
    examine(b"if rank" + b".a" * 300 + b"(): torch.save(1, 'm')")
