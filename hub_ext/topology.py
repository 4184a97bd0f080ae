"""Which devices are linked well to each other. Pure.

A set of devices is the better,

1. the better its worst pair is linked (an all-reduce goes at the pace of its slowest link);
2. the more links it has in all;
3. the fewer NUMA nodes it lies on;
4. the fewer links to other free devices it breaks, so that well-linked sets stay whole for those
   who ask for several devices; for a single device this alone decides.

Devices that are linked, directly or through others, form a cell. `best_set` compares all sets of a
cell where there are at most MOST_SUBSETS of them (any set of an 8-GPU node, any pair of 16), and
beyond that the set that grows from each device by always adding the best linked one. Up to WHOLE
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

Links = Mapping[str, Mapping[str, int]]
# how good a set is (smaller is better), and the places of its members: see best_set
Rating = tuple[int, int, int, int, tuple[int, ...]]


def links_among(devices: Sequence[Device]) -> Links:
    """How each of these devices is linked to others of them; both ways, the better report."""
    here = {each.uuid for each in devices}
    links: dict[str, dict[str, int]] = {}
    for each in devices:
        for other, score in each.links:
            if score > 0 and other in here and other != each.uuid:
                for one, two in ((each.uuid, other), (other, each.uuid)):
                    known = links.setdefault(one, {})
                    known[two] = max(score, known.get(two, 0))
    return links


def cells(devices: Sequence[Device], links: Links) -> list[list[Device]]:
    """The devices in parts; sets with good links lie within one. In the order given."""
    if len(devices) <= WHOLE:
        return [list(devices)] if devices else []
    by_uuid = {each.uuid: each for each in devices}
    parts: list[list[str]] = []
    for part in _components([*by_uuid], links, 1):
        parts += _cut(part, links)
    place = {uuid: number for number, uuid in enumerate(by_uuid)}
    return [[by_uuid[uuid] for uuid in sorted(part, key=place.__getitem__)] for part in parts]


def _components(uuids: Sequence[str], links: Links, least: int) -> list[list[str]]:
    """Parts that hang together by links of at least this score, each in order of distance."""
    left = dict.fromkeys(uuids)
    found = []
    for first in uuids:
        if first not in left:
            continue
        del left[first]
        part = [first]
        for uuid in part:  # grows meanwhile
            for other, score in links.get(uuid, {}).items():
                if score >= least and other in left:
                    del left[other]
                    part.append(other)
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


def rate(members: Sequence[Device], links: Links, count: int) -> Rating:
    """The best set of `count` of these devices, at least one and at most all."""
    if len(members) == 1:
        return (0, 0, 1, 0, (0,))
    rows = [links.get(each.uuid, {}) for each in members]
    uuids = [each.uuid for each in members]
    scores = tuple(tuple([row.get(uuid, 0) for uuid in uuids]) for row in rows)
    return best_set(scores, tuple([each.numa_node for each in members]), count)


@lru_cache(maxsize=4096)
def best_set(
    scores: tuple[tuple[int, ...], ...], nodes: tuple[int | None, ...], count: int
) -> Rating:
    """(-worst pair, -total, NUMA nodes, links broken, places) of the best set of `count` members.

    `scores[i][j]` is how well i and j are linked (symmetric, 0 for i = j). Of equally good sets it
    is the first. Hosts have many nodes of the same build, so most questions were asked before.
    """
    size = len(scores)
    if comb(size, count) <= MOST_SUBSETS:
        return _compare_all(scores, nodes, count)
    return min(_rating(scores, nodes, _grow(scores, seed, count)) for seed in range(size))


def _rating(
    scores: Sequence[Sequence[int]], nodes: Sequence[int | None], places: tuple[int, ...]
) -> Rating:
    pairs = [scores[i][j] for at, i in enumerate(places) for j in places[:at]]
    total = sum(pairs)
    broken = sum(sum(scores[i]) for i in places) - 2 * total
    return (-min(pairs, default=0), -total, len({nodes[i] for i in places}), broken, places)


def _compare_all(
    scores: Sequence[Sequence[int]], nodes: Sequence[int | None], count: int
) -> Rating:
    size = len(scores)
    best: list[Rating] = []
    least = 0  # no set with a worse pair than this can be the best one any more

    def grow(places: tuple[int, ...], worst: int | None) -> None:
        nonlocal least
        missing = count - len(places)
        if not missing:
            rating = _rating(scores, nodes, places)
            if not best or rating < best[0]:
                best[:] = [rating]
                least = -rating[0]
            return
        start = places[-1] + 1 if places else 0
        for place in range(start, size - missing + 1):
            links = [scores[place][other] for other in places]
            if worst is not None:
                links.append(worst)
            lowest = min(links, default=None)
            if lowest is None or lowest >= least:
                grow((*places, place), lowest)

    grow((), None)
    return best[0]


def _grow(scores: Sequence[Sequence[int]], seed: int, count: int) -> tuple[int, ...]:
    chosen = [seed]

    def gain(place: int) -> tuple[int, int, int, int]:
        links = [scores[place][other] for other in chosen]
        return (min(links), sum(links), -sum(scores[place]), -place)

    left = [place for place in range(len(scores)) if place != seed]
    while len(chosen) < count:
        added = max(left, key=gain)
        chosen.append(added)
        left.remove(added)
    return tuple(sorted(chosen))
