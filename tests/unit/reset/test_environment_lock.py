"""The lock of an environment's own packages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_ext.errors import BadRequest
from server_ext.reset.environment_lock import Lock, Locked, missing, parse, render

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True).filter(
    lambda name: "--" not in name
)
PACKAGES = st.one_of(
    st.builds(
        Locked, NAMES, version=st.from_regex(r"[0-9]{1,3}(\.[0-9a-z]{1,4}){0,3}", fullmatch=True)
    ),
    st.builds(
        Locked, NAMES, url=st.sampled_from(["https://a.example/b-1.whl", "git+https://x/y@abc"])
    ),
    st.builds(Locked, NAMES, url=st.just("file:///home/jovyan/work/mine"), editable=st.just(True)),
)


@given(st.lists(PACKAGES, unique_by=lambda one: one.name), st.sampled_from(["", "sha256:0a1b"]))
def test_what_is_rendered_is_parsed_to_the_same(packages: list[Locked], base: str) -> None:
    lock = Lock(tuple(packages), base, (("odd", "its address cannot be read"),))
    assert parse(render(lock)) == Lock(tuple(packages), base)


@given(st.text(max_size=200))
def test_any_text_is_a_lock_or_is_refused(text: str) -> None:
    try:
        lock = parse(text)
    except BadRequest:
        return
    assert all(package.name for package in lock.packages)


@pytest.mark.parametrize(
    "line",
    [
        *("--index-url http://elsewhere.example", "-r other.txt", "einops", "einops>=1", "a b"),
        *("einops==1; print()", "einops==1 --hash=sha256:0", "-e ../mine", "-e file:///x"),
        *("a @ file.whl", "a @ https://x/y.whl --trusted-host x", "einops==1 # c", "\x00==1"),
    ],
)
def test_what_a_lock_never_says_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(BadRequest, match="Line 2"):
        parse(f"# a comment\n{line}\n")


def test_names_are_compared_as_pip_does_and_twice_is_refused() -> None:
    (one,) = parse("Flask_SQLAlchemy==1.0\r\n").packages
    assert one.name == "flask-sqlalchemy"
    with pytest.raises(BadRequest, match="twice"):
        parse("a.b==1\na-b==2\n")


def test_what_is_missing() -> None:
    lock = parse("a==1\nb==2\nc @ https://x/c.whl\n")
    present = [Locked("a", version="1"), Locked("b", version="1"), Locked("d", version="1")]
    assert [one.name for one in missing(lock, present)] == ["b", "c"]
