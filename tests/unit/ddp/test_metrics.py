"""Numbers that scripts print: which are found, and that memory stays bounded."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_ext.ddp.metrics import LONGEST, POINTS, SERIES, Metrics, numbers_in

NAN = pytest.approx(math.nan, nan_ok=True)


@pytest.mark.parametrize(
    ("line", "numbers"),
    [
        ("result: loss=0.0312 accuracy=0.98", {"loss": 0.0312, "accuracy": 0.98}),
        ("epoch=1 loss=1e-3, lr = 5E-4; x=-.5", {"epoch": 1, "loss": 1e-3, "lr": 5e-4, "x": -0.5}),
        ("Epoch 3: train_loss: 0.5 | val/acc: 93.1%", {"train_loss": 0.5, "val/acc": 93.1}),
        ("loss=nan grad_norm=inf", {"loss": NAN, "grad_norm": math.inf}),
        ("Loss: NaN", {"Loss": NAN}),
        ('{"loss": 0.5, "step": 10, "name": "x", "ok": true}', {"loss": 0.5, "step": 10}),
        ("{'loss': 0.5, 'learning_rate': 1e-05, 'epoch': 0.1}", None),
        ('{"loss": NaN}', {"loss": NAN}),
        ("100%|███| 10/10 [00:01<00:00, 8.21it/s, loss=0.31, v_num=0]", {"loss": 0.31, "v_num": 0}),
        ("\x1b[32mloss=0.5\x1b[0m", {"loss": 0.5}),
        ("top1@5=0.4 a.b=1", {"top1@5": 0.4, "a.b": 1}),
        ("(loss=0.5)", {"loss": 0.5}),
        ("loss=0.5.", {"loss": 0.5}),
        ("http://127.0.0.1:8888/?a=1", {}),
        ("127.0.0.1:29500 12:30:05 at 10: 20", {}),
        ("2026-01-31 12:00:00,123 INFO x", {}),
        ("version=2.9.1 sha=1a2b x=0x10 y=1_000 z=1-2", {}),
        ("Linear(in_features=2, out_features=64)", {"in_features": 2, "out_features": 64}),
        ("loss = tensor(0.5)", {}),
        ("{broken: 1}", {"broken": 1}),
        ("[Gloo] Rank 1 is connected to 1 peer ranks. Expected number of peer ranks is : 1", {}),
        ("[rank0]:[W1126 22:23:50.405127902 socket.cpp:209] retries: 3", {}),
        ("W1126 22:23:04.002000 8 torch/distributed/run.py:803] threads: 1", {}),
        ("host:44:91 [0] NCCL INFO Channels : 2", {}),
        ("Iteration: 3 loss: 0.5", {"Iteration": 3, "loss": 0.5}),
        ("", {}),
        ("x=1" + " " * LONGEST, {}),
        ("x=" + "9" * 400, {"x": math.inf}),
    ],
)
def test_the_numbers_of_a_line(line: str, numbers: dict[str, float] | None) -> None:
    expected = {"loss": 0.5, "learning_rate": 1e-05, "epoch": 0.1} if numbers is None else numbers
    found = numbers_in(line)
    assert found.keys() == expected.keys()
    assert all(found[name] == expected[name] for name in expected)


def series(metrics: Metrics) -> dict[str, list[list[object]]]:
    return {one["name"]: one["points"] for one in metrics.view()}


def test_steps_count_where_they_are_printed() -> None:
    metrics = Metrics()
    metrics.feed(0, "step=10 epoch=1 loss=3\nloss=2\nepoch=2 acc=")
    metrics.feed(0, "0.5\nrank=0 seed=7\n")
    assert series(metrics) == {"loss": [[10, 3], [1, 2]], "acc": [[2, 0.5]]}


def test_of_several_ranks_the_lowest_counts() -> None:
    metrics = Metrics()
    metrics.feed(1, "loss=1\nonly=5\n")
    metrics.feed(0, "loss=2\n")
    metrics.feed(1, "loss=3\n")
    metrics.feed(None, "loss=9\n")
    assert series(metrics) == {"loss": [[0, 2]], "only": [[0, 5]]}
    assert [one["rank"] for one in metrics.view()] == [0, 1]


def test_progress_bars_and_the_last_half_line() -> None:
    metrics = Metrics()
    metrics.feed(0, "1/2 [loss=3]\r2/2 [loss=2]\rloss=1")
    assert series(metrics) == {"loss": [[0, 3], [1, 2]]}
    metrics.end()
    assert series(metrics)["loss"][-1] == [2, 1]


def test_a_line_that_is_too_long_has_no_numbers_in_its_end_either() -> None:
    metrics = Metrics()
    metrics.feed(0, "x" * 2 * LONGEST)
    metrics.feed(0, " y=1\ny=2\n")
    metrics.feed(0, "x" * 2 * LONGEST)
    metrics.feed(0, " y=3")
    metrics.end()
    assert series(metrics) == {"y": [[0, 2]]}


def test_memory_is_bounded_and_the_shape_stays() -> None:
    metrics = Metrics()
    total = 20 * POINTS
    for start in range(0, total, 100):
        metrics.feed(0, "".join(f"y={n}\n" for n in range(start, start + 100)))
    metrics.feed(0, "".join(f"n{n}=1\n" for n in range(2 * SERIES)))
    metrics.feed(0, "x" * 10 * LONGEST)
    told = metrics.view()
    assert len(told) == SERIES
    y = told[0]
    assert (y["count"], y["last"], y["least"]) == (total, total - 1, 0)
    assert POINTS / 2 <= len(y["points"]) <= POINTS
    assert all(point == [n, n] for point in y["points"] for n in [point[0]])
    steps = {b[0] - a[0] for a, b in zip(y["points"], y["points"][1:], strict=False)}
    assert len(steps) == 1  # evenly thinned


def test_what_is_no_number_is_told_as_text() -> None:
    metrics = Metrics()
    metrics.feed(0, "loss=1\nloss=nan\n")
    told = metrics.view()[0]
    assert (told["last"], told["least"], told["most"]) == ("nan", 1, 1)
    json.loads(json.dumps(told, allow_nan=False))


@given(st.lists(st.tuples(st.integers(0, 3) | st.none(), st.text(max_size=40)), max_size=20))
def test_any_text_is_acceptable_and_pieces_do_not_matter(
    pieces: list[tuple[int | None, str]],
) -> None:
    whole, split = Metrics(), Metrics()
    for rank, text in pieces:
        whole.feed(rank, text)
        for character in text:
            split.feed(rank, character)
    whole.end()
    split.end()
    json.dumps(whole.view(), allow_nan=False)
    assert whole.view() == split.view()


PRINTED = st.sampled_from(["loss", "acc", "val/f1"])


@given(st.lists(st.tuples(PRINTED, st.floats(allow_nan=False, allow_infinity=False)), max_size=30))
def test_what_is_printed_is_what_is_found(printed: list[tuple[str, float]]) -> None:
    metrics = Metrics()
    metrics.feed(0, "".join(f"{name}={value!r}\n" for name, value in printed))
    found = series(metrics)
    for name in {name for name, _ in printed}:
        values = [value for each, value in printed if each == name]
        assert [y for _, y in found[name]] == values
