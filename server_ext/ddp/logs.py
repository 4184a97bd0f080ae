"""Reads a run's log while it is written: from any offset, in pieces, for as long as the run lives.

Guarantees:
- Nothing is lost or repeated: the `offset` of a piece is where the next begins, in bytes of the
  file, and a reader that comes back with it continues there.
- Memory is bounded by CHUNK_BYTES a reader, whatever the size of the log or of a line, because
  nothing is read before the reader has taken what was read before.
- A character or a rank's header is not torn apart at the end of a piece; invalid UTF-8 becomes
  U+FFFD. File I/O happens in a thread.

torchrun puts `[default<rank>]:` before every line of a rank, and again in the middle of a line:
where it met the line half written, or where the rank's other stream (of output and errors) has
written. Which of them it was cannot be told from the log alone. Its own lines have none.
"""

from __future__ import annotations

import asyncio
import glob
import os
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

from .. import regular_file

CHUNK_BYTES = 64 * 1024
POLL_SECONDS = 0.05
PARTIAL_SECONDS = 0.3  # how long half a line waits for its other half

_HEADER = re.compile(rb"\[default(\d{1,5})\]:")
_HALF_HEADER = re.compile(rb"\[(?:d(?:e(?:f(?:a(?:u(?:l(?:t(?:\d{1,5}\]?)?)?)?)?)?)?)?)?$")


@dataclass(frozen=True)
class Piece:
    """Output of one rank, or of torchrun itself (None). offset: where the next piece begins.

    cut: whether it goes on where the piece before was cut for reading; else it begins at a header,
    and where that rank's last line is open, either stream of the rank may be what follows.
    """

    offset: int
    rank: int | None
    text: str
    cut: bool = False

    def view(self) -> dict[str, Any]:
        """As the REST interface streams it."""
        shown = {"offset": self.offset, "rank": self.rank, "text": self.text}
        return {**shown, "cut": True} if self.cut else shown


async def follow(
    path: str, offset: int, is_over: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[list[Piece], None]:
    """The log from `offset` (bytes) to its end; the end is known once `is_over` says so.

    An offset behind the end of the file begins at its end. A log that does not exist is empty.
    """
    position = min(offset, await asyncio.to_thread(length, path))
    rank = await asyncio.to_thread(_rank_before, path, position)
    pending = b""
    waited = 0.0
    while True:
        over = await is_over()  # before the read: what is written until the end is then read
        room = CHUNK_BYTES - len(pending)
        data = await asyncio.to_thread(read, path, position + len(pending), room)
        pending += data
        waited = 0.0 if data else waited + POLL_SECONDS
        ended = over and not data
        cut = _cut(pending, everything=ended, partial=ended or waited >= PARTIAL_SECONDS)
        if cut:
            pieces, rank = split(pending[:cut], position, rank)
            position += cut
            pending = pending[cut:]
            yield pieces
        if ended:
            return
        if not data:
            await asyncio.sleep(POLL_SECONDS)


def split(chunk: bytes, offset: int, rank: int | None) -> tuple[list[Piece], int | None]:
    """Pieces of a chunk that begins at `offset`, and the rank that owns an unfinished last line.

    rank: whose line the chunk continues, None at the start of a line.
    """
    runs: list[tuple[int, int | None, bytearray, bool]] = []  # end, rank, text, cut
    start = offset
    for line in _lines(chunk):
        parts = _HEADER.split(line)
        position = start
        again = False  # a header of the same rank within the line
        for index in range(0, len(parts), 2):
            if index:
                again = rank == int(parts[index - 1])
                rank = int(parts[index - 1])
                position += len(b"[default]:") + len(parts[index - 1])
            text = parts[index]
            position += len(text)
            if runs and runs[-1][1] == rank and not again:
                runs[-1] = (position, *runs[-1][1:])
                runs[-1][2].extend(text)
            elif text:
                runs.append((position, rank, bytearray(text), index == 0 and rank is not None))
        start += len(line)
        if line.endswith(b"\n"):
            rank = None
    pieces = [
        Piece(end, owner, text.decode(errors="replace"), cut) for end, owner, text, cut in runs
    ]
    return pieces, rank


def whole(chunk: bytes, *, everything: bool) -> bytes:
    """What of a chunk may be split: all of it, or without a character or header that is cut off."""
    return chunk[: _cut(chunk, everything=everything, partial=True)]


def tail(path: str, size: int) -> str:
    """The last `size` bytes of the log, from the start of a line. Blocking."""
    end = length(path)
    data = read(path, max(0, end - size), size)
    if end > size:
        data = data[data.find(b"\n") + 1 :]
    return data.decode(errors="replace")


def said(log: str, folder: str, hidden: Collection[int], restarts: int, size: int) -> str:
    """What tells how a run ended: the last `size` bytes of its log, after what is not in them.

    Of hidden ranks that is all they said. Of a log longer than that, a rank's last words may be
    before its end; and of a run that was started anew the earlier attempts must not count: then
    every rank's own files of the last attempt are read, in the order in which they fell silent.
    log: path; folder: torchrun's --log-dir. Blocking.
    """
    end = tail(log, size)
    if not restarts and length(log) <= size:
        return _of_ranks(_files(folder, hidden), size // 4) + end
    ours = [line for line in end.splitlines(keepends=True) if not _HEADER.match(line.encode())]
    every = _files(folder, None)
    if not every:
        return end
    return _of_ranks(every, max(size // len(every), 8 * 1024)) + "".join(ours)


def _of_ranks(files: list[tuple[int, list[str]]], size: int) -> str:
    """The last `size` bytes that each rank said, as the log would have it."""
    return "".join(
        f"[default{rank}]:{line}\n"
        for rank, names in files
        for name in names
        for line in tail(name, size).removesuffix("\n").split("\n")
    )


def _files(folder: str, ranks: Collection[int] | None) -> list[tuple[int, list[str]]]:
    """Output files of ranks (None: all) in the last attempt; who fell silent first comes first."""
    # <folder>/<run>_<random>/attempt_<n>/<rank>/stderr.log
    found = glob.glob(os.path.join(glob.escape(folder), "*", "attempt_*", "*", "stderr.log"))
    last = max((_attempt(name) for name in found), default=0)
    silent: list[tuple[int, int, list[str]]] = []
    for name in found:
        number = os.path.basename(os.path.dirname(name))
        if _attempt(name) != last or not number.isdigit():
            continue
        if ranks is None or int(number) in ranks:
            output = os.path.join(os.path.dirname(name), "stdout.log")
            silent.append((_changed(name), int(number), [output, name]))
    return [(rank, names) for _, rank, names in sorted(silent)]


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _attempt(path: str) -> int:
    return int(re.findall(r"/attempt_(\d+)/", path)[-1])


def _lines(chunk: bytes) -> list[bytes]:
    """Lines with their ends; only a newline ends a line (a carriage return is a progress bar's)."""
    lines = chunk.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _cut(data: bytes, *, everything: bool, partial: bool) -> int:
    """How much of `data` may be passed on now."""
    if everything:
        return len(data)
    newline = data.rfind(b"\n") + 1
    if newline or not (partial or len(data) >= CHUNK_BYTES):
        return newline
    half = _HALF_HEADER.search(data, max(0, len(data) - 16))
    end = half.start() if half else len(data)
    return _character_boundary(data[:end])


def _character_boundary(data: bytes) -> int:
    """The length without a UTF-8 character that is cut off at the end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:  # the first byte of a character of 2, 3 or 4
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if back < length else len(data)
    return len(data)


def length(path: str) -> int:
    """Of the log, bytes; 0 where there is none. Blocking."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def read(path: str, offset: int, count: int) -> bytes:
    """At most `count` bytes from `offset` on; b"" where there are none. Blocking."""
    if count <= 0:
        return b""
    try:
        with regular_file.opened(path) as file:
            file.seek(offset)
            return file.read(count) or b""
    except OSError:
        return b""


def _rank_before(path: str, offset: int) -> int | None:
    """Whose line `offset` is in the middle of, as far as CHUNK_BYTES before it tell."""
    start = max(0, offset - CHUNK_BYTES)
    line = read(path, start, offset - start).rpartition(b"\n")[2]
    headers = _HEADER.findall(line)
    return int(headers[-1]) if headers else None
