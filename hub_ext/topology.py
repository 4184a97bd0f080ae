"""Which devices are linked well to each other. Pure.

A set of devices is the better,

1. the better its worst pair is linked (an all-reduce goes at the pace of its slowest link);
2. the more links it has in all;
3. the fewer NUMA nodes it lies on;
4. the fewer links to other free devices it breaks, so that well-linked sets stay whole for those
   who ask for several devices; for a single device this alone decides.

Devices that are linked, directly or through others, form a cell. `Pattern.best` compares all sets
of a cell where there are at most MOST_SUBSETS of them (any set of an 8-GPU node, any pair of 16),
and beyond that those that grow from each device by always adding the best linked one. Up to WHOLE
devices are one cell, linked or not, so among so few the best set of all is found. Components of
more than MOST_MEMBERS devices, which no host has, are cut at their weakest links.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import comb

from .models import Device

WHOLE = 8
MOST_MEMBERS = 16
MOST_SUBSETS = 500
MOST_KNOWN = 10_000  # sets that a pattern remembers

Links = Mapping[str, Mapping[str, int]]
# how good a set is (smaller is better): minus its worst pair and its total, its NUMA nodes, the
# links that it breaks; then the places of its members
Rating = tuple[int, int, int, int, tuple[int, ...]]


def cells(devices: Sequence[Device]) -> list[list[Device]]:
    """The devices in parts; sets with good links lie within one. In the order given."""
    if len(devices) <= WHOLE:
        return [list(devices)] if devices else []
    by_uuid = {each.uuid: each for each in devices}
    links = {each.uuid: dict(each.links) for each in devices}
    parts: list[list[str]] = []
    for part in _components([*by_uuid], links, 1):
        parts += _cut(part, links)
    place = {uuid: number for number, uuid in enumerate(by_uuid)}
    return [[by_uuid[uuid] for uuid in sorted(part, key=place.__getitem__)] for part in parts]


def _components(uuids: Sequence[str], links: Links, least: int) -> list[list[str]]:
    """Parts that hang together by links of at least this score, each in order of distance."""
    left = set(uuids)
    found = []
    for first in uuids:
        if first not in left:
            continue
        left.remove(first)
        part = [first]
        for uuid in part:  # grows meanwhile
            if left and (near := links[uuid].keys() & left):
                near = {other for other in near if links[uuid][other] >= least}
                left -= near
                part += sorted(near)
        found.append(part)
    return found


def _cut(part: list[str], links: Links) -> list[list[str]]:
    if len(part) <= MOST_MEMBERS:
        return [part]
    here = set(part)
    scores = {score for uuid in part for other, score in links[uuid].items() if other in here}
    for least in sorted(scores)[1:]:
        smaller = _components(part, links, least)
        if len(smaller) > 1:
            return [piece for each in smaller for piece in _cut(each, links)]
    return [part[at : at + MOST_MEMBERS] for at in range(0, len(part), MOST_MEMBERS)]


def pattern_of(members: Sequence[Device]) -> Pattern:
    """How these devices are linked to each other: both ways alike, by the better report."""
    if len(members) == 1:
        return _pattern(((0,),), (None,))
    rows = [dict(each.links) for each in members]
    uuids = [each.uuid for each in members]
    scores = [[row.get(uuid, 0) for uuid in uuids] for row in rows]
    for one, row in enumerate(scores):
        row[one] = 0
        for two in range(one):
            row[two] = scores[two][one] = max(row[two], scores[two][one])
    return _pattern(tuple(map(tuple, scores)), tuple([each.numa_node for each in members]))


@lru_cache(maxsize=1024)
def _pattern(scores: tuple[tuple[int, ...], ...], nodes: tuple[int | None, ...]) -> Pattern:
    """Hosts have many nodes of the same build: what was worked out for one holds for all."""
    return Pattern(scores, nodes)


class Pattern:
    """The links within a cell. `scores[i][j]` is how well i and j are linked (0 for i = j)."""

    def __init__(self, scores: Sequence[Sequence[int]], nodes: Sequence[int | None]) -> None:
        self._scores = scores
        self._nodes = nodes
        self._known: dict[tuple[tuple[int, ...], int], Rating] = {}

    def best(self, places: tuple[int, ...], count: int) -> Rating:
        """The best set of `count` of the members at these places, the first of equally good ones.

        At least one and at most all.
        """
        rating = self._known.get((places, count))
        if rating is None:
            if comb(len(places), count) <= MOST_SUBSETS:
                rating = self._compare_all(places, count)
            else:
                grown = (self._grow(places, seed, count) for seed in places)
                rating = min(self._rate(chosen, places) for chosen in grown)
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[places, count] = rating
        return rating

    def _rate(self, chosen: tuple[int, ...], places: Sequence[int]) -> Rating:
        scores = self._scores
        pairs = [scores[one][two] for at, one in enumerate(chosen) for two in chosen[:at]]
        total = sum(pairs)
        broken = sum(scores[one][two] for one in chosen for two in places) - 2 * total
        nodes = len({self._nodes[one] for one in chosen})
        return (-min(pairs, default=0), -total, nodes, broken, chosen)

    def _compare_all(self, places: Sequence[int], count: int) -> Rating:
        best: list[Rating] = []
        least = 0  # no set with a worse pair than this can be the best one any more

        def grow(chosen: tuple[int, ...], start: int, worst: int | None) -> None:
            nonlocal least
            missing = count - len(chosen)
            if not missing:
                rating = self._rate(chosen, places)
                if not best or rating < best[0]:
                    best[:] = [rating]
                    least = -rating[0]
                return
            for at in range(start, len(places) - missing + 1):
                links = [self._scores[places[at]][other] for other in chosen]
                if worst is not None:
                    links.append(worst)
                lowest = min(links, default=None)
                if lowest is None or lowest >= least:
                    grow((*chosen, places[at]), at + 1, lowest)

        grow((), 0, None)
        return best[0]

    def _grow(self, places: Sequence[int], seed: int, count: int) -> tuple[int, ...]:
        chosen = [seed]

        def gain(place: int) -> tuple[int, int, int, int]:
            links = [self._scores[place][other] for other in chosen]
            broken = sum(self._scores[place][other] for other in places)
            return (min(links), sum(links), -broken, -place)

        left = [place for place in places if place != seed]
        while len(chosen) < count:
            added = max(left, key=gain)
            chosen.append(added)
            left.remove(added)
        return tuple(sorted(chosen))
