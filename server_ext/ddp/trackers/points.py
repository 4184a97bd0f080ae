"""The numbers of one rank in a log that is read on, for trackers. Pure.

Guarantees: any bytes are an acceptable input; only whole lines count, and half a line is kept for
the next piece, HALF characters at most; of more than SERIES names the first count, as of the
charts; the state is small and can be kept as JSON, so that another process reads on where this one
ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..logs import split
from ..metrics import HALF, SERIES, Point, point_in


@dataclass
class PointReader:
    """rank: whose numbers count. offset: bytes of the log that were read; owner: the rank of the
    line that was not finished there; half: what was read of a line of ours; counts: how many
    numbers each name had.
    """

    rank: int
    offset: int = 0
    owner: int | None = None
    half: str = ""
    counts: dict[str, int] = field(default_factory=dict)

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
        return self._points([line])

    def copy(self) -> PointReader:
        """As it is now."""
        return replace(self, counts=dict(self.counts))

    def skip(self, offset: int) -> None:
        """Go on from here, the start of a line, leaving out what is before."""
        self.offset, self.owner, self.half = offset, None, ""

    def _lines(self, text: str) -> list[Point]:
        # a carriage return (of a progress bar) ends what is worth reading, too
        lines = (self.half + text).replace("\r", "\n").split("\n")
        self.half = lines[-1][:HALF]
        return self._points(lines[:-1])

    def _points(self, lines: Sequence[str]) -> list[Point]:
        found = []
        for line in lines:
            point = point_in(line)
            values = {}
            for name, value in point.values.items():
                if name in self.counts or len(self.counts) < SERIES:
                    self.counts[name] = self.counts.get(name, 0) + 1
                    values[name] = value
            if values:
                found.append(replace(point, values=values))
        return found
