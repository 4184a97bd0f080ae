"""Reads a run's log while it is written: from any offset, in pieces, for as long as the run lives.

Guarantees:
- Nothing is lost or repeated: the `offset` of a piece is where the next begins, in bytes of the
  file, and a reader that comes back with it continues there.
- Memory is bounded by CHUNK_BYTES a reader, whatever the size of the log or of a line, because
  nothing is read before the reader has taken what was read before.
- A character or a rank's header is not torn apart at the end of a piece; invalid UTF-8 becomes
  U+FFFD. File I/O happens in a thread.

torchrun puts `[default<rank>]:` before every line of a rank (and again, in the middle of a line,
where it met the line half written); its own lines have none.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

CHUNK_BYTES = 64 * 1024
POLL_SECONDS = 0.1
PARTIAL_SECONDS = 0.3  # how long half a line waits for its other half

_HEADER = re.compile(rb"\[default(\d{1,5})\]:")
_HALF_HEADER = re.compile(rb"\[(?:d(?:e(?:f(?:a(?:u(?:l(?:t(?:\d{1,5}\]?)?)?)?)?)?)?)?)?$")


@dataclass(frozen=True)
class Piece:
    """Output of one rank, or of torchrun itself (None). offset: where the next piece begins."""

    offset: int
    rank: int | None
    text: str

    def view(self) -> dict[str, Any]:
        """As the REST interface streams it."""
        return {"offset": self.offset, "rank": self.rank, "text": self.text}


async def follow(
    path: str, offset: int, is_over: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[list[Piece], None]:
    """The log from `offset` (bytes) to its end; the end is known once `is_over` says so.

    An offset behind the end of the file begins at its end. A log that does not exist is empty.
    """
    position = min(offset, await asyncio.to_thread(_size, path))
    rank = await asyncio.to_thread(_rank_before, path, position)
    pending = b""
    waited = 0.0
    while True:
        over = await is_over()  # before the read: what is written until the end is then read
        room = CHUNK_BYTES - len(pending)
        data = await asyncio.to_thread(_read, path, position + len(pending), room)
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
    runs: list[tuple[int, int | None, bytearray]] = []  # end, rank, text
    start = offset
    for line in _lines(chunk):
        parts = _HEADER.split(line)
        position = start
        for index in range(0, len(parts), 2):
            if index:
                rank = int(parts[index - 1])
                position += len(b"[default]:") + len(parts[index - 1])
            text = parts[index]
            position += len(text)
            if runs and runs[-1][1] == rank:
                runs[-1] = (position, rank, runs[-1][2])
                runs[-1][2].extend(text)
            elif text:
                runs.append((position, rank, bytearray(text)))
        start += len(line)
        if line.endswith(b"\n"):
            rank = None
    return [Piece(end, owner, text.decode(errors="replace")) for end, owner, text in runs], rank


def tail(path: str, size: int) -> str:
    """The last `size` bytes of the log, from the start of a line. Blocking."""
    end = _size(path)
    data = _read(path, max(0, end - size), size)
    if end > size:
        data = data[data.find(b"\n") + 1 :]
    return data.decode(errors="replace")


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


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _read(path: str, offset: int, size: int) -> bytes:
    if size <= 0:
        return b""
    try:
        with open(path, "rb", buffering=0) as file:
            file.seek(offset)
            return file.read(size) or b""
    except OSError:
        return b""


def _rank_before(path: str, offset: int) -> int | None:
    """Whose line `offset` is in the middle of, as far as CHUNK_BYTES before it tell."""
    start = max(0, offset - CHUNK_BYTES)
    line = _read(path, start, offset - start).rpartition(b"\n")[2]
    headers = _HEADER.findall(line)
    return int(headers[-1]) if headers else None
