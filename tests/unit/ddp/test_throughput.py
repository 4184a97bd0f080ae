"""Steps per second, from what scripts print."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_ext.ddp.throughput import LONGEST, Throughput, counts_in


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("step=10 loss=0.5", {"step": 10}),
        ("epoch=1 step=20", {"epoch": 1, "step": 20}),
        ("Epoch 3: train_loss: 0.5", {"epoch": 3}),
        ("Epoch [3/10], Step [100/1000], Loss: 2.1", {"epoch": 3, "step": 100}),
        ("Step: 100/1000", {"step": 100}),
        ("iteration #5", {"step": 5}),
        ('{"step": 10, "loss": 0.1}', {"step": 10}),
        ("{'loss': 0.5, 'epoch': 0.13}", {"epoch": 0.13}),
        ("step=3 global_step=903", {"step": 903}),
        ("global_step=903 step=3", {"step": 903}),
        ("Batch 7 of 9", {"batch": 7}),
        ("batch_size=32 steps=5 max_steps=100 warmup_step=3", {}),
        ("num_epochs=3", {}),
        ("step 3s", {}),
        ("step=", {}),
        ("epoch time: 3", {}),
        (" 45%|████▌     | 45/100 [00:03<00:04, 12.30it/s, loss=0.3]", {"iteration": 45}),
        ("45it [1:00:03, 12.30it/s]", {"iteration": 45}),
        ("2026/11 [12:30]", {}),
        ("\x1b[32mstep\x1b[0m=4", {"step": 4}),
        ("step=1" + " " * LONGEST, {}),
        ("", {}),
    ],
)
def test_what_a_line_counts(line: str, counts: dict[str, float]) -> None:
    assert counts_in(line) == counts


def test_the_rate_between_two_looks() -> None:
    speed = Throughput()
    speed.feed(0, "step=100\n")
    assert (speed.mark(10.0), speed.unit, speed.mean) == (None, None, None)
    speed.feed(0, "step=110\nstep=120\n")
    assert speed.mark(12.0) == ("step", 10.0)
    assert speed.mark(14.0) is None  # nothing new
    speed.feed(0, "step=160\n")
    assert speed.mark(16.0) == ("step", 10.0)  # over the four seconds that it took
    assert speed.mean == 10.0


def test_steps_that_begin_anew_with_each_epoch() -> None:
    speed = Throughput()
    speed.feed(0, "step=0\n")
    speed.mark(0.0)
    for epoch in range(3):
        speed.feed(0, "".join(f"epoch={epoch} step={n}\n" for n in range(1, 11)))
    assert speed.mark(3.0) == ("step", 10.0)


def test_the_finest_unit_and_the_lowest_rank_count() -> None:
    speed = Throughput()
    speed.feed(1, "epoch=1 step=1\n")
    speed.feed(0, "epoch=1 step=500\n")
    speed.feed(None, "step=90000\n")
    speed.mark(0.0)
    speed.feed(1, "step=100000\n")
    speed.feed(0, "epoch=2 step=504\n")
    assert speed.mark(2.0) == ("step", 2.0)


def test_epochs_alone() -> None:
    speed = Throughput()
    speed.feed(0, "Epoch 1/10\n")
    speed.mark(1.0)
    speed.feed(0, "Epoch 2/10\n")
    assert speed.mark(5.0) == ("epoch", 0.25)


@given(
    st.lists(
        st.tuples(st.none() | st.integers(0, 2), st.text(max_size=40) | st.sampled_from(
            ["step=5\n", "step=3\n", "epoch 2", "9/10 [00:01<00:02, ", "step=999999999999\n"]
        )),
        max_size=20,
    )
)  # fmt: skip
def test_any_text_gives_a_rate_that_is_not_negative(pieces: list[tuple[int | None, str]]) -> None:
    speed = Throughput()
    for at, (rank, text) in enumerate(pieces):
        speed.feed(rank, text)
        told = speed.mark(float(at))
        assert told is None or (told[0] == speed.unit and told[1] > 0)
    assert speed.mean is None or speed.mean > 0
