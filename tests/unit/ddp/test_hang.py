"""What is a hang and what is not, who is named, and what is kept of it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_ext.ddp import hang, places
from server_ext.ddp.hang import Hang, Look, RankSeen, decode, verdict
from server_ext.ddp.places import Place

ALL_REDUCE = Place("collective", "all_reduce()", "/work/train.py", 20, "main")
BARRIER = Place("collective", "barrier()", "/work/train.py", 10, "main")
BACKWARD = Place("backward", "backward()", "/work/train.py", 30, "main")
ITEM = Place("gpu", "", "/work/train.py", 40, "main")
SLEEP = Place("sleep", "", "/work/train.py", 15, "main")
LOOP = Place("elsewhere", "", "/work/train.py", 16, "main")


def looked(
    *seen: Place | None | RankSeen, network: bool = False, exchange: bool = False, problem: str = ""
) -> Look:
    """Ranks at rest at these places, or as they are given."""
    ranks = (
        one if isinstance(one, RankSeen) else RankSeen(rank, one) for rank, one in enumerate(seen)
    )
    return Look(tuple(ranks), network, exchange, problem)


def busy(rank: int, place: Place, gpu: bool = False) -> RankSeen:
    return RankSeen(rank, place, at_work=True, gpu_at_work=gpu)


def judged(*looks: Look) -> tuple[str, int | None] | None:
    found = verdict(looks)
    return None if found is None else (found.code, found.rank)


HANGS = {
    "one sleeps": ((ALL_REDUCE, SLEEP), ("rank-elsewhere", 1)),
    "the first sleeps": ((SLEEP, ALL_REDUCE, ALL_REDUCE), ("rank-elsewhere", 0)),
    "one of four has ended": ((BACKWARD, BACKWARD, None, BACKWARD), ("rank-ended", 2)),
    "an extra barrier in rank 0": ((BARRIER, ALL_REDUCE), ("different-collectives", 0)),
    "one of four took another way": (
        (ALL_REDUCE, ALL_REDUCE, ALL_REDUCE, BARRIER),
        ("different-collectives", 3),
    ),
    "one call, two lines": (
        (ALL_REDUCE, replace(ALL_REDUCE, line=25), replace(ALL_REDUCE, line=25)),
        ("different-collectives", 0),
    ),
    "the backward pass and a barrier": ((BACKWARD, BARRIER), ("different-collectives", 1)),
    "two halves in two files": (
        (BARRIER, replace(ALL_REDUCE, file="/work/b.py")),
        ("different-collectives", None),
    ),
    "all in one": ((ALL_REDUCE, ALL_REDUCE), ("same-collective", None)),
    "all sleep": ((SLEEP, SLEEP), ("idle", None)),
    "one rank is left, and sleeps": ((None, SLEEP), ("idle", 1)),
}


@pytest.mark.parametrize(("seen", "expected"), HANGS.values(), ids=HANGS)
def test_hangs(seen: tuple[Place | None, ...], expected: tuple[str, int | None]) -> None:
    assert judged(looked(*seen)) == expected


WELL = {
    "nobody is there": looked(),
    "all have ended": looked(None, None),
    "rank 0 computes, the others wait": looked(busy(0, LOOP), ALL_REDUCE),
    "rank 0's GPU computes": looked(RankSeen(0, LOOP, gpu_at_work=True), ALL_REDUCE),
    "a sleep between two pieces of work": looked(busy(0, SLEEP), ALL_REDUCE),
    "loading of data": looked(busy(0, replace(LOOP, kind="data")), ALL_REDUCE),
    "a download": looked(replace(LOOP, kind="socket"), ALL_REDUCE, network=True),
    "a download by a program": looked(replace(LOOP, kind="process"), BARRIER, network=True),
    "a long kernel": looked(busy(0, ITEM, True), busy(1, ITEM, True)),
    "a long evaluation on the GPU": looked(busy(0, ITEM, True), busy(1, BARRIER, True)),
    "the backward pass computes": looked(busy(0, BACKWARD), ALL_REDUCE),
    "a short collective": looked(busy(0, BARRIER), busy(1, ALL_REDUCE)),
    "a large all_reduce": looked(busy(0, ALL_REDUCE), busy(1, ALL_REDUCE)),
}


@pytest.mark.parametrize("look", WELL.values(), ids=WELL)
def test_healthy(look: Look) -> None:
    assert judged(look) is None


def looked_thrice(look: Look) -> tuple[str, int | None] | None:
    return judged(*[look] * hang.LOOKS)


@pytest.mark.parametrize("name", [name for name in WELL if name != "a short collective"])
def test_healthy_however_often_one_looks(name: str) -> None:
    assert looked_thrice(WELL[name]) is None


def test_a_sleep_is_a_hang_whatever_the_network_carries() -> None:
    assert judged(looked(SLEEP, ALL_REDUCE, network=True)) == ("rank-elsewhere", 0)


def test_spinning_in_a_collective_is_waiting_if_nothing_moves_for_three_looks() -> None:
    look = looked(busy(0, BARRIER), busy(1, ALL_REDUCE))
    assert judged(look, look) is None
    assert judged(look, look, look) == ("different-collectives", 0)
    moved = looked(busy(0, BARRIER), busy(1, replace(ALL_REDUCE, line=21)))
    assert judged(look, moved, look) is None
    # they send each other data all the time
    sending = replace(look, exchange=True)
    assert judged(look, sending, look) is None and looked_thrice(sending) is None


def test_spinning_while_another_rank_sleeps() -> None:
    assert judged(looked(busy(0, ALL_REDUCE), SLEEP)) is None
    assert looked_thrice(looked(busy(0, ALL_REDUCE), SLEEP)) == ("rank-elsewhere", 1)


def test_without_stacks() -> None:
    """The kernel tells a sleep; a wait in a collective looks like any other."""
    look = looked(Place("elsewhere"), Place("sleep"), problem="it is not allowed")
    assert judged(look) == ("idle", 1)
    found = verdict([look])
    assert found is not None
    seen = found.view(str)
    assert "it is not allowed" in seen["cause"] and "Rank 1 sleeps" in seen["cause"]


def test_what_people_are_told() -> None:
    frames = ("all_reduce (torch/distributed/distributed_c10d.py:2942)", "main (/work/train.py:20)")
    found = verdict([looked(RankSeen(0, ALL_REDUCE, frames=frames), SLEEP)])
    assert found is not None
    seen = replace(found, since=1769860800.0).view(str)
    assert seen == {
        "code": "rank-elsewhere",
        "since": "2026-01-31T12:00:00Z",
        "cause": "Rank 1 sleeps (train.py:15 in main), and the others wait for it in all_reduce().",
        "fix": hang.FIXES_OF["sleep"],
        "rank": 1,
        "ranks": [
            {
                "rank": 0,
                "doing": "waits in all_reduce()",
                "where": "train.py:20 in main",
                "collective": "all_reduce()",
                "frames": list(frames),
            },
            {
                "rank": 1,
                "doing": "sleeps",
                "where": "train.py:15 in main",
                "collective": None,
                "frames": [],
            },
        ],
    }
    found = verdict([looked(BARRIER, ALL_REDUCE, ALL_REDUCE)])
    assert found is not None and found.view(str)["cause"] == (
        "The ranks wait for each other in different places: rank 0 waits in barrier() "
        "(train.py:10 in main); rank 1 waits in all_reduce() (train.py:20 in main)."
    )


PLACES = st.builds(
    Place,
    st.sampled_from(sorted(places.KINDS - {"ended"})),
    st.sampled_from(["", "all_reduce()", "{0} {x} %s"]),
    st.sampled_from(["", "/work/{x}.py", "/b.py"]),
    st.integers(0, 3),
    st.sampled_from(["", "<module>", "f{}"]),
)
SEEN = st.builds(
    RankSeen,
    st.integers(0, 99),
    st.none() | PLACES,
    st.booleans(),
    st.booleans(),
    st.lists(st.text(max_size=10), max_size=3).map(tuple),
)
LOOKS = st.builds(
    Look,
    st.lists(SEEN, max_size=5, unique_by=lambda one: one.rank).map(tuple),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["", "not {allowed}"]),
)


@given(st.lists(LOOKS, max_size=4))
def test_any_verdict_can_be_told_and_kept(looks: list[Look]) -> None:
    found = verdict(looks)
    if found is None:
        return
    seen = found.view(str)
    assert seen["cause"] and seen["fix"] and len(seen["ranks"]) == len(looks[-1].ranks)
    assert found.rank in {None, *(one.rank for one in looks[-1].ranks)}
    assert decode(json.loads(json.dumps(asdict(found)))) == found


@given(st.lists(LOOKS, min_size=1, max_size=4), st.sampled_from([LOOP, SLEEP, BACKWARD, ITEM]))
def test_work_outside_of_a_collective_is_no_hang(looks: list[Look], place: Place) -> None:
    worker = RankSeen(100, place, at_work=True)
    assert verdict([replace(look, ranks=(*look.ranks, worker)) for look in looks]) is None


@given(st.lists(LOOKS, max_size=4))
def test_who_is_named_is_not_at_work(looks: list[Look]) -> None:
    found = verdict(looks)
    if found is not None and found.rank is not None:
        named = next(one for one in looks[-1].ranks if one.rank == found.rank)
        assert named.place is None or not named.at_work or named.place.kind == "collective"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(list(asdict(Hang("", ())))), inner, max_size=5)
    ),
    max_leaves=10,
)


@given(JSON)
def test_what_is_no_record_of_a_hang_is_passed_over(value: object) -> None:
    assert decode(value) is None


@pytest.mark.parametrize(
    "change",
    [
        {"code": "no-such"},
        {"ranks": []},
        {"ranks": [{"rank": 0, "kind": "no-such", "collective": "", "where": "", "frames": []}]},
        {"since": float("nan")},
        {"since": -1},
        {"rank": "x"},
    ],
)
def test_a_damaged_record_is_passed_over(change: dict[str, object]) -> None:
    found = verdict([looked(ALL_REDUCE, SLEEP)])
    assert found is not None
    assert decode(asdict(found)) == found
    assert decode({**asdict(found), **change}) is None
