"""Names: valid, apart, readable, and never a way out."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_ext.volumes import container_name, environment_volume, slug, work_volume

VALID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
# weighted towards what could confuse: separators, dots, case, templates, other scripts
NAMES = st.one_of(
    st.text(alphabet="ab-._/1A", max_size=12),
    st.text(max_size=40),
    st.sampled_from(
        ["../x", "a--b", "{raw_username}", "-", "--", "a-1", "a_2d1", "ä", "名字", "a" * 300]
    ),
)


@pytest.mark.parametrize(
    ("user", "server", "name"),
    [
        ("ada", "", "gpucamp-ada"),
        ("team-7", "", "gpucamp-team-7"),
        ("ada", "second", "gpucamp-ada--second"),
        ("a--b", "", "gpucamp-a-_2db"),
        ("Ada", "", "gpucamp-_41da"),
        ("ada@example.org", "", "gpucamp-ada_40example_2eorg"),
        ("../x", "", "gpucamp-_2e_2e_2fx"),
        ("{raw_username}", "", "gpucamp-_7braw_5fusername_7d"),
        ("ä", "", "gpucamp-_c3_a4"),
        ("-", "", "gpucamp-_2d"),
        ("", "", "gpucamp-_"),
    ],
)
def test_names(user: str, server: str, name: str) -> None:
    assert container_name(user, server) == name


def test_a_long_name_is_cut_and_stays_apart() -> None:
    made = container_name("a" * 300, "")
    assert re.fullmatch(r"gpucamp-a{28}_z[0-9a-f]{32}", made)
    assert made != container_name("a" * 299, "")


def test_volumes() -> None:
    assert work_volume("ada") == "gpucamp-work-ada"
    assert environment_volume("ada", "", 1) == "gpucamp-env-ada-1"
    assert environment_volume("ada", "second", 12) == "gpucamp-env-ada--second-12"
    assert environment_volume("a-1", "", 2) == "gpucamp-env-a-1-2"
    assert work_volume("ada", prefix="camp2") == "camp2-work-ada"


@given(NAMES, NAMES, st.integers(1, 10**6))
def test_always_valid(user: str, server: str, generation: int) -> None:
    names = (
        container_name(user, server),
        work_volume(user),
        environment_volume(user, server, generation),
    )
    for name in names:
        assert VALID.fullmatch(name)
        assert len(name) <= 200
        assert ".." not in name and "/" not in name and "{" not in name


SERVER = st.tuples(NAMES, NAMES, st.integers(1, 30))


@given(SERVER, SERVER)
def test_never_shared(one: tuple[str, str, int], other: tuple[str, str, int]) -> None:
    if one != other:
        assert environment_volume(*one) != environment_volume(*other)
    if one[:2] != other[:2]:
        assert container_name(*one[:2]) != container_name(*other[:2])
    if one[0] != other[0]:
        assert work_volume(one[0]) != work_volume(other[0])
    assert work_volume(one[0]) != environment_volume(*other)


@given(st.text(alphabet="abcxyz0189", min_size=1, max_size=20))
def test_ordinary_names_stay(name: str) -> None:
    assert slug(name) == name


@given(st.text(min_size=1, max_size=20))
def test_a_short_slug_can_be_undone(name: str) -> None:
    escaped = slug(name)
    if "_z" in escaped:
        return
    raw = re.sub(rb"_([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), escaped.encode())
    assert raw.decode("utf-8", "surrogatepass") == name
