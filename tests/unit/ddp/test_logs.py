"""Reading a log while it is written: nothing lost, nothing twice, memory bounded."""

from __future__ import annotations

import asyncio
import os
import random
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_ext.ddp import logs

pytestmark = pytest.mark.timeout(60)


async def read_all(path: Path, offset: int = 0) -> list[logs.Piece]:
    async def over() -> bool:
        return True

    return [piece async for batch in logs.follow(str(path), offset, over) for piece in batch]


def by_rank(pieces: list[logs.Piece]) -> dict[int | None, str]:
    texts: dict[int | None, str] = {}
    for piece in pieces:
        texts[piece.rank] = texts.get(piece.rank, "") + piece.text
    return texts


async def test_ranks_and_torchrun_are_told_apart(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"[default0]:a\n[default1]:b\nW1124 agent\n[default0]:c")
    pieces = await read_all(log)
    assert [(piece.rank, piece.text) for piece in pieces] == [
        (0, "a\n"),
        (1, "b\n"),
        (None, "W1124 agent\n"),
        (0, "c"),
    ]
    assert pieces[-1].offset == log.stat().st_size


async def test_a_line_that_torchrun_met_half_written(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"[default0]:lo[default0]:ss=1[default1]:other\n[default0]:\n")
    assert by_rank(await read_all(log)) == {0: "loss=1\n", 1: "other\n"}


async def test_progress_bars_keep_their_carriage_returns(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes("[default0]:\r1/8 ▏\r2/8 ▎\n".encode())
    assert by_rank(await read_all(log)) == {0: "\r1/8 ▏\r2/8 ▎\n"}


async def test_invalid_utf8_is_replaced_and_counted_in_bytes(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"[default0]:\xff\xfe ok \xe2\x9c\n\xf0\x9f")
    pieces = await read_all(log)
    assert "".join(p.text for p in pieces) == "\ufffd\ufffd ok \ufffd\n\ufffd"
    assert pieces[-1].offset == log.stat().st_size


async def test_a_log_that_is_not_there_and_an_offset_behind_the_end(tmp_path: Path) -> None:
    assert await read_all(tmp_path / "nothing") == []
    log = tmp_path / "log"
    log.write_bytes(b"[default0]:a\n")
    assert await read_all(log, 10**14) == []


async def test_resuming_at_every_offset_that_was_given(tmp_path: Path) -> None:
    log = tmp_path / "log"
    chance = random.Random(7)  # noqa: S311
    lines = [
        f"[default{chance.randrange(3)}]:{'né✓𝄞x'[chance.randrange(5)] * chance.randrange(40)}\n"
        for _ in range(60)
    ]
    log.write_bytes(("".join(lines) + "no end").encode())
    whole = await read_all(log)
    for index, piece in enumerate(whole):
        rest = await read_all(log, piece.offset)
        assert by_rank(rest) == by_rank(whole[index + 1 :])


async def test_a_huge_line_comes_in_bounded_pieces_of_its_rank(tmp_path: Path) -> None:
    log = tmp_path / "log"
    text = "é✓" * 400_000
    log.write_bytes(f"[default3]:{text}\n[default0]:end\n".encode())
    pieces = await read_all(log)
    assert by_rank(pieces) == {3: text + "\n", 0: "end\n"}
    assert max(len(piece.text.encode()) for piece in pieces) <= logs.CHUNK_BYTES
    for piece in pieces[:3]:  # a reader that comes back in the middle of it
        if piece.rank == 3:
            assert (await read_all(log, piece.offset))[0].rank in (3, None)


async def test_following_a_writer(tmp_path: Path) -> None:
    """Bytes that come one by one, across characters and headers."""
    log = tmp_path / "log"
    data = "[default0]:a✓b\n[default1]:prompt> ".encode() + "[default1]:né\n".encode()
    done = False

    async def write() -> None:
        nonlocal done
        with log.open("ab", buffering=0) as file:
            for byte in data:
                file.write(bytes([byte]))
                await asyncio.sleep(0.03)
        done = True

    async def over() -> bool:
        return done

    writing = asyncio.create_task(write())
    pieces = [piece async for batch in logs.follow(str(log), 0, over) for piece in batch]
    await writing
    assert by_rank(pieces) == {0: "a✓b\n", 1: "prompt> né\n"}


async def test_half_a_line_is_shown_after_a_moment(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes("[default0]:downloading ✓".encode()[:-1])

    async def over() -> bool:
        return False

    source = logs.follow(str(log), 0, over)
    batch = await asyncio.wait_for(anext(source), 2)
    assert [piece.text for piece in batch] == ["downloading "]  # without the half character
    await source.aclose()


async def test_a_slow_reader_of_100_megabytes_costs_no_memory(tmp_path: Path) -> None:
    log = tmp_path / "log"
    size = 100 * 2**20
    line = b"[default0]:" + b"x" * 89 + b"\n[default1]:" + b"y" * 89 + b"\n"
    with log.open("wb") as file:
        for _ in range(size // (len(line) * 1000) + 1):
            file.write(line * 1000)

    async def over() -> bool:
        return True

    tracemalloc.start()
    read = batches = 0
    source = logs.follow(str(log), 0, over)
    async for batch in source:
        batches += 1
        read += sum(len(piece.text) for piece in batch)
        if batches % 100 == 0:
            await asyncio.sleep(0.01)  # nothing is read meanwhile
        if batches == 200:  # 12 MB are enough to see growth; the end is read below
            break
    await source.aclose()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 2**20, f"{peak} bytes at once"
    last = (await read_all(log, log.stat().st_size - 3 * len(line)))[-1]
    assert last.offset == log.stat().st_size
    assert read > 10 * 2**20


@given(
    st.lists(st.tuples(st.integers(0, 2), st.text(max_size=12).map(lambda t: t.replace("[", "")))),
    st.lists(st.integers(1, 40), min_size=1),
)
def test_splitting_in_any_chunks_gives_the_same_text(
    lines: list[tuple[int, str]], cuts: list[int]
) -> None:
    """Whole lines in whichever batches; offsets always add up."""
    clean = [(rank, text.replace("\n", " ").encode(errors="replace")) for rank, text in lines]
    whole = [f"[default{rank}]:".encode() + text + b"\n" for rank, text in clean]
    expected: dict[int | None, str] = {}
    for rank, text in clean:
        expected[rank] = expected.get(rank, "") + text.decode() + "\n"
    offset, rank_now, pieces, start = 0, None, [], 0
    for index in range(len(whole)):
        end = start + cuts[index % len(cuts)]
        chunk = b"".join(whole[start:end])
        found, rank_now = logs.split(chunk, offset, rank_now)
        pieces += found
        offset += len(chunk)
        assert not found or found[-1].offset == offset
        start = end
    assert by_rank(pieces) == expected


def test_the_tail_begins_with_a_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first line\nsecond\nthird\n")
    assert logs.tail(str(log), 10) == "third\n"
    assert logs.tail(str(log), 1000) == "first line\nsecond\nthird\n"
    assert logs.tail(str(tmp_path / "none"), 10) == ""


def test_what_hidden_ranks_said_last(tmp_path: Path) -> None:
    for attempt, text in enumerate(["old\n", "Traceback\nValueError: é\n"]):
        for rank in range(3):
            folder = tmp_path / "run_x[1]" / f"attempt_{attempt}" / str(rank)
            folder.mkdir(parents=True)
            (folder / "stderr.log").write_text(text)
            (folder / "stdout.log").write_bytes(b"\xff" * 100 + b"\nlast\n")
    said = logs.said(str(tmp_path / "none"), str(tmp_path), (1, 7), 0, 120)
    assert said == "[default1]:last\n[default1]:Traceback\n[default1]:ValueError: é\n"
    assert logs.said(str(tmp_path / "none"), str(tmp_path / "nowhere"), (0,), 0, 120) == ""
    assert logs.said(str(tmp_path / "none"), str(tmp_path), (), 0, 120) == ""


def test_what_is_before_the_end_of_a_long_log(tmp_path: Path) -> None:
    """A rank's last words are found in its own files, who fell silent first before the others;
    of a run that was started anew only the last attempt counts.
    """
    log = tmp_path / "run.log"
    log.write_text("[default1]:ValueError: é\n" + "[default0]:flood\n" * 100 + "agent\n")
    for attempt, text in enumerate(["old\n", "ValueError: é\n"]):
        for rank in range(2):
            folder = tmp_path / "ranks" / "run_x" / f"attempt_{attempt}" / str(rank)
            folder.mkdir(parents=True)
            (folder / "stdout.log").write_text("")
            (folder / "stderr.log").write_text(text if rank else "flood\n" * 100)
            os.utime(folder / "stderr.log", (rank, 100 - rank))
    said = logs.said(str(log), str(tmp_path / "ranks"), (), 0, 200).splitlines()
    assert said[:2] == ["[default1]:", "[default1]:ValueError: é"]
    assert said[-1] == "agent" and said.count("[default0]:flood") == 100
    short = logs.said(str(log), str(tmp_path / "ranks"), (), 1, 10000)
    assert "ValueError" in short and "old" not in short
    assert logs.said(str(log), str(tmp_path / "none"), (), 1, 10000) == log.read_text()


def test_a_piece_begins_at_a_header_or_says_that_it_was_cut() -> None:
    bar = b"[default0]: 50%|##  | 1/2 [00:01<00:01, 1.0it/s]"
    rest = b"[default0]:step=1\n[default0]:\n[default1]:x\n[default1]:y\n"
    pieces, _ = logs.split(bar + rest, 0, None)
    assert [(piece.rank, piece.text, piece.cut) for piece in pieces] == [
        (0, " 50%|##  | 1/2 [00:01<00:01, 1.0it/s]", False),
        (0, "step=1\n\n", False),
        (1, "x\ny\n", False),
    ]
    # a chunk that ends between the two says the same, one that ends within a line says so
    (piece,), _ = logs.split(b"[default0]:step=1\n", len(bar), 0)
    assert not piece.cut and "cut" not in piece.view()
    first, second = logs.split(b"ep=1\n[default0]:step=2\n[default1]:x\n", 30, 0)[0]
    assert (first.cut, first.text, second.cut) == (True, "ep=1\nstep=2\n", False)
    assert first.view()["cut"] is True
