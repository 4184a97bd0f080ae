"""The numbers of one rank in a log that is read on, for trackers. Pure.

Guarantees: any bytes are an acceptable input; only whole lines count, and half a line is kept for
the next piece, LONGEST characters at most; the state is small and can be kept as JSON, so that
another process reads on where this one ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..logs import split
from ..metrics import LONGEST, Point, point_in


@dataclass
class PointReader:
    """rank: whose numbers count. offset: bytes of the log that were read; owner: the rank of the
    line that was not finished there; half: what was read of a line of ours.
    """

    rank: int
    offset: int = 0
    owner: int | None = None
    half: str = ""

    def feed(self, data: bytes) -> list[Point]:
        """The points in the bytes that follow `offset`; they end with a whole character."""
        pieces, self.owner = split(data, self.offset, self.owner)
        self.offset += len(data)
        found: list[Point] = []
        for piece in pieces:
            if piece.rank == self.rank:
                found += self._lines(piece.text)
        return found

    def end(self) -> list[Point]:
        """The log has ended: half a line is whole."""
        line, self.half = self.half, ""
        return _points([line])

    def skip(self, offset: int) -> None:
        """Go on from here, the start of a line, leaving out what is before."""
        self.offset, self.owner, self.half = offset, None, ""

    def _lines(self, text: str) -> list[Point]:
        # a carriage return (of a progress bar) ends what is worth reading, too
        lines = (self.half + text).replace("\r", "\n").split("\n")
        self.half = lines[-1] if len(lines[-1]) <= LONGEST else ""
        return _points(lines[:-1])


def _points(lines: Sequence[str]) -> list[Point]:
    found = [point_in(line) for line in lines]
    return [point for point in found if point.values]
