"""A smallest set to blame is found, whatever it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server_ext.doctor.narrowing import smallest


@given(st.integers(0, 12), st.sets(st.integers(0, 12)), st.integers(0, 4))
async def test_those_that_are_to_blame_and_no_others(
    count: int, guilty: set[int], likely: int
) -> None:
    asked: list[tuple[int, ...]] = []

    async def works_without(left_out: tuple[int, ...]) -> bool:
        asked.append(left_out)
        return guilty <= set(left_out)

    found = await smallest(tuple(range(count)), works_without, likely=likely)
    if guilty <= set(range(count)):
        assert set(found) == guilty or (not guilty and len(found) <= 1)
    else:
        assert found == ()
    assert not found or found in asked, "what is named was tried"
    assert len(asked) <= 3 * count + 5


async def test_one_of_two_that_do_the_same_harm_by_themselves_is_not_enough() -> None:
    """Without either alone it still fails; both are named."""

    async def works_without(left_out: tuple[str, ...]) -> bool:
        return {"a", "d"} <= set(left_out)

    assert await smallest(("a", "b", "c", "d"), works_without) == ("a", "d")
