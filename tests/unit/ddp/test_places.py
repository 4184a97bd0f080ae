"""Stacks and wait channels as real ranks (torch 2.9.1) had them, and the places that they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_ext.ddp import places
from server_ext.ddp.places import KINDS, Frame, Place, Thread, place_of

SITE = "/opt/gpucamp/base/lib/python3.11/site-packages/"
C10D = SITE + "torch/distributed/distributed_c10d.py"
LOGGER = SITE + "torch/distributed/c10d_logger.py"
DDP = SITE + "torch/nn/parallel/distributed.py"
MODULE = SITE + "torch/nn/modules/module.py"
STDLIB = "/usr/lib/python3.11/"
WRAPPER = Frame("_exception_logger.<locals>.wrapper", LOGGER, 81)
SCRIPT = Frame("main", "/home/jovyan/work/train.py", 11)
TOP = Frame("<module>", "/home/jovyan/work/train.py", 26)


def place(*frames: Frame, state: str = "S", channel: str = "futex_do_wait") -> Place:
    return place_of([Thread(True, frames)], state, channel)


def test_a_collective_is_named_as_the_script_calls_it() -> None:
    found = place(Frame("all_reduce", C10D, 2942), WRAPPER, SCRIPT, TOP)
    assert found == Place("collective", "all_reduce()", SCRIPT.file, 11, "main")
    assert found.where == "train.py:11 in main"


def test_of_collectives_that_use_others_the_outermost_is_named() -> None:
    found = place(
        Frame("all_gather", C10D, 3949),
        WRAPPER,
        Frame("all_gather_object", C10D, 3179),
        WRAPPER,
        SCRIPT,
        TOP,
    )
    assert found.collective == "all_gather_object()"


def test_a_library_between_script_and_collective() -> None:
    library = Frame("Accelerator.wait_for_everyone", SITE + "accelerate/accelerator.py", 10)
    assert place(Frame("barrier", C10D, 1), WRAPPER, library, SCRIPT).collective == "barrier()"


def test_ddp_itself() -> None:
    made = place(Frame("DistributedDataParallel.__init__", DDP, 835), SCRIPT, TOP)
    assert (made.kind, made.collective) == ("collective", "DistributedDataParallel()")
    forward = place(
        Frame("DistributedDataParallel._sync_buffers", DDP, 2200),
        Frame("DistributedDataParallel._pre_forward", DDP, 1500),
        Frame("DistributedDataParallel.forward", DDP, 1600),
        Frame("Module._call_impl", MODULE, 1786),
        SCRIPT,
    )
    assert forward.collective == "DistributedDataParallel.forward()"


@pytest.mark.parametrize(
    "inner",
    [
        # the script's own model, and a model of an installed package
        [Frame("Net.forward", "/home/jovyan/work/model.py", 5)],
        [Frame("Linear.forward", SITE + "torch/nn/modules/linear.py", 134)],
        [Frame("Bert.forward", SITE + "transformers/models/bert/modeling_bert.py", 900)],
    ],
)
def test_a_model_that_computes_below_ddp_is_in_no_collective(inner: list[Frame]) -> None:
    found = place(
        *inner,
        Frame("Module._call_impl", MODULE, 1786),
        Frame("Module._wrapped_call_impl", MODULE, 1775),
        Frame("DistributedDataParallel._run_ddp_forward", DDP, 1570),
        Frame("DistributedDataParallel.forward", DDP, 1602),
        Frame("Module._call_impl", MODULE, 1786),
        SCRIPT,
    )
    assert found.kind == "elsewhere"


def test_record_and_saving_are_no_collectives() -> None:
    record = Frame("wrapper", SITE + "torch/distributed/elastic/multiprocessing/errors/a.py", 357)
    assert place(SCRIPT, record, TOP).kind == "elsewhere"
    saving = Frame("_write", SITE + "torch/distributed/checkpoint/filesystem.py", 3)
    assert place(saving, SCRIPT).kind == "elsewhere"


def test_the_backward_pass() -> None:
    found = place(
        Frame("_engine_run_backward", SITE + "torch/autograd/graph.py", 841),
        Frame("backward", SITE + "torch/autograd/__init__.py", 354),
        Frame("Tensor.backward", SITE + "torch/_tensor.py", 625),
        SCRIPT,
    )
    assert (found.kind, found.collective) == ("backward", "backward()")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("work.wait()", "collective"),
        ("while not work.is_completed(): pass", "collective"),
        ("loss = loss.item()", "gpu"),
        ("torch.cuda.synchronize()", "gpu"),
        ("time.sleep(1000)", "sleep"),
        ("answer = input('? ')", "input"),
        ("data = connection.recv(10)", "socket"),
        ("fcntl.flock(lock, fcntl.LOCK_EX)", "lock"),
        ("x = x + 1", "elsewhere"),
        ("", "elsewhere"),
    ],
)
def test_functions_without_a_frame_are_told_by_the_line(text: str, kind: str) -> None:
    frame = Frame("main", "/home/jovyan/work/train.py", 3, text)
    found = place(frame, TOP)
    assert (found.kind, found.line) == (kind, 3)


def test_a_sleep_is_told_by_the_kernel_whatever_its_name_is() -> None:
    frame = Frame("main", "/home/jovyan/work/train.py", 3, "pause(5)")
    assert place(frame, channel="hrtimer_nanosleep").kind == "sleep"


@pytest.mark.parametrize(
    ("function", "file", "kind"),
    [
        ("SSLSocket.read", STDLIB + "ssl.py", "socket"),
        ("HTTPResponse.read", STDLIB + "http/client.py", "socket"),
        ("send", SITE + "requests/adapters.py", "socket"),
        ("Condition.wait", STDLIB + "threading.py", "lock"),
        ("Popen._wait", STDLIB + "subprocess.py", "process"),
        ("Connection._recv", STDLIB + "multiprocessing/connection.py", "process"),
        ("_try_get_data", SITE + "torch/utils/data/dataloader.py", "data"),
        ("Pdb.interaction", STDLIB + "pdb.py", "debugger"),
        ("synchronize", SITE + "torch/cuda/__init__.py", "gpu"),
        ("_shutdown", STDLIB + "threading.py", "outside"),
        ("merge", SITE + "pandas/core/reshape/merge.py", "elsewhere"),
    ],
)
def test_what_a_library_waits_for(function: str, file: str, kind: str) -> None:
    assert place(Frame(function, file, 1), SCRIPT).kind == kind


def test_a_data_loader_is_named_though_it_waits_in_a_queue() -> None:
    found = place(
        Frame("Condition.wait", STDLIB + "threading.py", 320),
        Frame("Queue.get", STDLIB + "queue.py", 180),
        Frame(
            "_MultiProcessingDataLoaderIter._try_get_data",
            SITE + "torch/utils/data/dataloader.py",
            1275,
        ),
        SCRIPT,
    )
    assert found.kind == "data"


def test_a_thread_that_trains_while_the_main_one_waits() -> None:
    waiting = Thread(True, (Frame("Thread.join", STDLIB + "threading.py", 1), SCRIPT))
    training = Thread(False, (Frame("all_reduce", C10D, 1), WRAPPER, SCRIPT))
    assert place_of([training, waiting], "S", "").collective == "all_reduce()"
    # but what runs beside a main thread that works says nothing
    working = Thread(True, (SCRIPT,))
    assert place_of([training, working], "R", "").kind == "elsewhere"


@pytest.mark.parametrize(
    ("state", "channel", "kind"),
    [
        ("S", "hrtimer_nanosleep", "sleep"),
        ("T", "do_signal_stop", "stopped"),
        ("D", "folio_wait_bit_common", "disk"),
        ("S", "futex_do_wait", "elsewhere"),
        ("S", "", "elsewhere"),
    ],
)
def test_without_stacks_the_kernel_tells_what_it_can(state: str, channel: str, kind: str) -> None:
    assert place_of([], state, channel) == Place(kind)


def test_a_stopped_rank_is_stopped_wherever_it_is() -> None:
    found = place(Frame("all_reduce", C10D, 1), WRAPPER, SCRIPT, state="T")
    assert (found.kind, found.collective, found.line) == ("stopped", "", 11)


FILES = st.one_of(
    st.sampled_from(
        [C10D, LOGGER, DDP, MODULE, STDLIB + "threading.py", "/home/jovyan/work/a.py", ""]
    ),
    st.text(max_size=20),
)
FRAMES = st.builds(Frame, st.text(max_size=20), FILES, st.integers(-1, 10**6), st.text(max_size=30))
THREADS = st.builds(Thread, st.booleans(), st.lists(FRAMES, max_size=6).map(tuple))


@given(st.lists(THREADS, max_size=4), st.sampled_from("RSDTtI?"), st.text(max_size=20))
def test_every_stack_has_a_place(threads: list[Thread], state: str, channel: str) -> None:
    found = place_of(threads, state, channel)
    assert found.kind in KINDS
    assert bool(found.collective) <= (found.kind in (places.COLLECTIVE, places.BACKWARD))
    assert isinstance(found.where, str)


@given(st.lists(FRAMES, max_size=4))
def test_the_scripts_own_code_is_never_in_a_collective(outer: list[Frame]) -> None:
    assert place(Frame("step", "/home/jovyan/work/a.py", 1, "x = f(y)"), *outer).kind == "elsewhere"
