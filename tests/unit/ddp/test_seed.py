"""Which seed is found where, and that nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_ext.ddp.seed import ARGUMENTS, ENVIRONMENT, PRINTED, Seed, asked_for, better, printed


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["--seed", "1"], "1"),
        (["--seed=1"], "1"),
        (["seed=1"], "1"),
        (["+seed=1"], "1"),
        (["trainer.seed=7"], "7"),
        (["--seed", "-3"], "-3"),
        (["--random-seed", "5"], "5"),
        (["--seed_everything=42"], "42"),
        (["--seed", "1", "--seed", "2"], "2"),
        (["--seed", "1", "--seed"], "1"),
        (["--lr", "0.1"], None),
        (["--seed"], None),
        (["--seed", "--lr", "1"], None),
        (["--seed", "abc"], None),
        (["--seed=1.5"], None),
        (["--seed_everything", "true"], None),
        (["seed", "1"], None),  # two positional words
        (["--data_seed", "1"], None),
        (["--seeds=3"], None),
        (["--note", "it's seed=1 really"], None),
        (["--seed=" + "9" * 400], None),
        ([""], None),
    ],
)
def test_arguments(arguments: list[str], value: str | None) -> None:
    assert asked_for(arguments, {}) == (None if value is None else Seed(value, ARGUMENTS))


def test_variables() -> None:
    assert asked_for([], {"SEED": "3"}) == Seed("3", ENVIRONMENT)
    assert asked_for([], {"SEED": "3", "PL_GLOBAL_SEED": "4"}) == Seed("4", ENVIRONMENT)
    assert asked_for(["--seed", "1"], {"SEED": "3"}) == Seed("1", ARGUMENTS)
    assert asked_for([], {"SEED": "none"}) is None


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("seed=42", "42"),
        ("Seed: 42", "42"),
        ("Global seed set to 42", "42"),
        ("[rank: 0] Seed set to 42", "42"),
        ("Using seed 42", "42"),
        ("random seed = 42, lr = 0.1", "42"),
        ("Namespace(lr=0.1, seed=42)", "42"),
        ('{"seed": 42, "loss": 1}', "42"),
        ("{'seed': 42}", "42"),
        ("the seed is 42.", "42"),
        ("the seed is set to 42", "42"),
        ("seed=-1", "-1"),
        ("data_seed=1", None),
        ("seeds=3", None),
        ("seed=0x1F", None),
        ("seed=1.5", None),
        ("seed 1/5", None),
        ("seed=None", None),
        ("loss=42", None),
        ("the seed\n[default0]:42", None),
    ],
)
def test_what_is_printed(line: str, value: str | None) -> None:
    expected = None if value is None else Seed(value, PRINTED)
    assert printed(f"[default0]:start\n[default0]:{line}\n") == expected
    assert printed(f"{line}\n".replace("[default0]:", "")) is None  # torchrun's own line


def test_the_lowest_rank_counts_and_its_first() -> None:
    text = "[default1]:seed=2\n[default0]:seed=1\n[default0]:seed=9\n[default1]:seed=3\n"
    assert printed(text) == Seed("1", PRINTED)


def test_which_counts_more() -> None:
    one, two, three = Seed("1", ARGUMENTS), Seed("2", PRINTED), Seed("3", ENVIRONMENT)
    assert better(one, two) == better(two, one) == one
    assert better(two, three) == better(three, two) == two
    assert better(None, three) == better(three, None) == three
    assert better(None, None) is None
    assert better(one, Seed("8", ARGUMENTS)) == one


@given(st.lists(st.text(max_size=30)), st.text(max_size=200))
def test_any_text_is_acceptable(arguments: list[str], text: str) -> None:
    asked_for(arguments, {"SEED": text})
    printed(text)
    printed("[default0]:" + text)


@given(st.integers(-(10**18), 10**18))
def test_any_number_is_found_as_it_is(number: int) -> None:
    assert asked_for([f"--seed={number}"], {}) == Seed(str(number), ARGUMENTS)
    assert printed(f"[default0]:Seed set to {number}\n") == Seed(str(number), PRINTED)
