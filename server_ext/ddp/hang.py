"""Whether a run hangs, what for, and what helps: what was seen of its ranks -> a verdict. Pure.

Guarantees:
- A rank that is at work outside of a collective (CPU, files, its GPU) is never part of a hang, so
  a long step, loading of data or a download gives no verdict, however long the others wait.
- A rank that is busy *inside* a collective (NCCL spins while it waits) only counts as waiting
  after LOOKS looks at the very same line, and not while the ranks send each other data. In a wait
  for its GPU it never does: computing looks the same.
- The rank that is named is the one that the others wait for; where none can be told, none is.
- A verdict is data (codes, kinds, numbers): its texts are made for each reader, in a language.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ..i18n import N_, Gettext
from . import places
from .places import Place

LOOKS = 3  # in different seconds: a loop of short steps would not be met thrice in one line
MOST_FRAMES = 40
MOST_RANKS = 64

RANK_ENDED, DIFFERENT, RANK_ELSEWHERE = "rank-ended", "different-collectives", "rank-elsewhere"
SAME, IDLE = "same-collective", "idle"

# what may be waiting for an answer from elsewhere while bytes come over the network
_NETWORKED = frozenset(
    {places.SOCKET, places.PROCESS, places.LOCK, places.DATA, places.ELSEWHERE, places.OUTSIDE}
)

CAUSES: Mapping[str, str] = {
    RANK_ENDED: N_("Rank {rank} has ended, and the others still wait for it in {collective}."),
    DIFFERENT: N_("The ranks wait for each other in different places: {places}."),
    RANK_ELSEWHERE: N_("Rank {rank} {doing}, and the others wait for it in {collective}."),
    SAME: N_("All ranks wait in {collective}, and nothing moves."),
    IDLE: N_("Nothing happens: no output, and no work of CPU or GPU. Rank {rank} {doing}."),
}
FIXES: Mapping[str, str] = {
    RANK_ENDED: N_(
        "All ranks must make the same number of steps: DistributedSampler with drop_last=True, "
        "and no return, break or exit in some ranks only. Stop the run: it does not go on."
    ),
    DIFFERENT: N_(
        "Every rank must make the same calls in the same order: take collectives (all_reduce, "
        "barrier, the backward pass) out of `if rank == 0:` and out of loops of different length. "
        "Stop the run: it does not go on."
    ),
    RANK_ELSEWHERE: N_(
        "A collective must be reached by all ranks. See where this rank stands, mend what it "
        "waits for there, and start again."
    ),
    SAME: N_(
        "Tensors of different shapes or types in the ranks, or different groups, do this. Run it "
        "with the variable TORCH_DISTRIBUTED_DEBUG=DETAIL, which names the difference."
    ),
    IDLE: N_(
        "See where the ranks stand. If this wait is wanted, let it go on, and print a line now "
        "and then. Otherwise stop the run."
    ),
}
# of a rank that the others wait for, where more can be said
FIXES_OF: Mapping[str, str] = {
    places.SLEEP: N_(
        "Take the wait out, or let it be the same in all ranks. If it is wanted, it may go on: "
        "the others give up after the time-out of init_process_group()."
    ),
    places.INPUT: N_("The ranks have no keyboard: give the value as an argument of the script."),
    places.DEBUGGER: N_("The ranks have no keyboard: take the breakpoint out."),
    places.SOCKET: N_(
        "Give the request a time-out. Download before init_process_group(), or once before the run."
    ),
    places.DATA: N_(
        "A DataLoader worker hangs. num_workers=0 shows where; DataLoader(..., timeout=60) turns "
        "it into an error."
    ),
    places.STOPPED: N_("Continue it with `kill -CONT` and its pid in a terminal, or stop the run."),
}
DOING: Mapping[str, str] = {
    places.COLLECTIVE: N_("waits in {collective}"),
    places.BACKWARD: N_("waits in {collective}"),
    places.GPU: N_("waits for its GPU"),
    places.SLEEP: N_("sleeps"),
    places.INPUT: N_("waits for input"),
    places.DEBUGGER: N_("waits in a debugger"),
    places.SOCKET: N_("waits for the network"),
    places.DATA: N_("waits for its DataLoader"),
    places.LOCK: N_("waits for a lock or another thread"),
    places.PROCESS: N_("waits for another process"),
    places.DISK: N_("waits for a disk"),
    places.STOPPED: N_("was stopped by a signal"),
    places.OUTSIDE: N_("starts or ends, outside of the script"),
    places.ELSEWHERE: N_("does nothing"),
    places.ENDED: N_("has ended"),
}
_AT = N_("{doing} ({where})")
_UNREAD = N_("The stacks of the ranks cannot be read here ({reason}); seen from outside:")


@dataclass(frozen=True)
class RankSeen:
    """A rank at one look. place: None where it has ended. at_work: used CPU or files lately;
    gpu_at_work: so did its GPU, as far as that is known.
    """

    rank: int
    place: Place | None
    at_work: bool = False
    gpu_at_work: bool = False
    frames: tuple[str, ...] = ()


@dataclass(frozen=True)
class Look:
    """All ranks at one moment. network: whether bytes came or went lately; exchange: whether many
    did inside the container, as gloo's do. problem: why there are no stacks.
    """

    ranks: tuple[RankSeen, ...]
    network: bool = False
    exchange: bool = False
    problem: str = ""


@dataclass(frozen=True)
class HungRank:
    """What is told of a rank. kind: of places.KINDS; frames: its stack, the innermost first."""

    rank: int
    kind: str
    collective: str = ""
    where: str = ""
    frames: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hang:
    """A run that hangs. since: seconds of the epoch; rank: which the others wait for."""

    code: str
    ranks: tuple[HungRank, ...]
    rank: int | None = None
    since: float = 0.0
    problem: str = ""

    def same_as(self, other: Hang | None) -> bool:
        """Whether it is the same but for its time."""
        return other is not None and replace(self, since=other.since) == other

    def view(self, gettext: Gettext) -> dict[str, Any]:
        """As the REST interface shows it, in a language."""
        named = self._named()
        fix = FIXES[self.code]
        if self.code == RANK_ELSEWHERE and named is not None:
            fix = FIXES_OF.get(named.kind, fix)
        cause = gettext(CAUSES[self.code]).format(
            rank="" if named is None else named.rank,
            doing="" if named is None else _doing(named, gettext),
            collective=self._collective(gettext),
            places="; ".join(_named_doing(one, gettext) for one in _distinct(self.ranks)),
        )
        if self.problem:
            note = gettext(_UNREAD).format(reason=gettext(self.problem))
            cause = f"{note} {cause}"
        since = datetime.fromtimestamp(self.since, UTC).isoformat(timespec="seconds")
        return {
            "code": self.code,
            "since": since.replace("+00:00", "Z"),
            "cause": cause,
            "fix": gettext(fix),
            "rank": self.rank,
            "ranks": [
                {
                    "rank": one.rank,
                    "doing": _doing(one, gettext, where=False),
                    "where": one.where,
                    "collective": one.collective or None,
                    "frames": list(one.frames),
                }
                for one in self.ranks
            ],
        }

    def _named(self) -> HungRank | None:
        if self.rank is None:
            return self.ranks[0] if self.ranks else None
        return next((one for one in self.ranks if one.rank == self.rank), None)

    def _collective(self, gettext: Gettext) -> str:
        names = Counter(one.collective for one in self.ranks if one.collective)
        if names:
            return names.most_common(1)[0][0]
        return gettext(N_("a wait"))


def decode(value: object) -> Hang | None:
    """From JSON; None for what is not one of ours."""
    if not isinstance(value, dict):
        return None
    try:
        ranks = tuple(
            HungRank(
                rank=int(one["rank"]),
                kind=str(one["kind"]),
                collective=str(one["collective"]),
                where=str(one["where"]),
                frames=tuple(map(str, one["frames"]))[:MOST_FRAMES],
            )
            for one in value["ranks"][:MOST_RANKS]
        )
        rank = value.get("rank")
        hang = Hang(
            code=str(value["code"]),
            ranks=ranks,
            rank=None if rank is None else int(rank),
            since=float(value["since"]),
            problem=str(value["problem"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    known = hang.code in CAUSES and all(one.kind in DOING for one in ranks)
    return hang if known and ranks and 0 <= hang.since < 1e11 else None


def verdict(looks: Sequence[Look]) -> Hang | None:
    """Whether the run hangs, as far as these looks tell, the last of which is now.

    Nothing was printed in the meantime, nor for a while before: that is for the caller to know.
    """
    if not looks or not looks[-1].ranks:
        return None
    last = looks[-1]
    unmoved = len(looks) >= LOOKS and all(
        _places(one) == _places(last) and not one.exchange for one in looks
    )
    parts: dict[str, list[RankSeen]] = {"ended": [], "waiting": [], "elsewhere": []}
    for seen in last.ranks:
        part = _part(seen, unmoved)
        if part is None:
            return None  # at work
        parts[part].append(seen)
    ended, waiting, elsewhere = parts.values()
    if not waiting and not elsewhere:
        return None
    if last.network and any(seen.place and seen.place.kind in _NETWORKED for seen in elsewhere):
        return None
    code, rank = _judge(ended, waiting, elsewhere)
    if code is None:
        return None
    return Hang(code, tuple(map(_told, last.ranks[:MOST_RANKS])), rank, problem=last.problem)


def _part(seen: RankSeen, unmoved: bool) -> str | None:
    """ended, waiting or elsewhere; None for a rank that is at work, or may be."""
    if seen.place is None:
        return "ended"
    kind = seen.place.kind
    if kind == places.COLLECTIVE:
        return "waiting" if unmoved or not seen.at_work else None
    if seen.at_work or seen.gpu_at_work:
        return None
    return "waiting" if kind == places.BACKWARD else "elsewhere"


def _judge(
    ended: Sequence[RankSeen], waiting: Sequence[RankSeen], elsewhere: Sequence[RankSeen]
) -> tuple[str | None, int | None]:
    """(code, the rank that the others wait for)."""
    if waiting and ended:
        return RANK_ENDED, ended[0].rank
    if waiting and elsewhere:
        return RANK_ELSEWHERE, elsewhere[0].rank
    if not waiting:
        return IDLE, _who_sleeps(elsewhere)
    groups = Counter(_key(seen) for seen in waiting)
    if len(groups) > 1:
        return DIFFERENT, _fewest(waiting, groups)
    if any(seen.at_work for seen in waiting):
        return None, None  # all at one place and busy: a large transfer
    return SAME, None


def _who_sleeps(elsewhere: Sequence[RankSeen]) -> int | None:
    """Without stacks: the one that sleeps while the others, to all appearance, wait for it."""
    asleep = [seen for seen in elsewhere if seen.place and seen.place.kind == places.SLEEP]
    return asleep[0].rank if len(asleep) == 1 else None


def _fewest(waiting: Sequence[RankSeen], groups: Counter[tuple[str, str, int]]) -> int | None:
    """The rank that took another way than most; of two halves, the one that came less far."""
    least = min(groups.values())
    odd = [seen for seen in waiting if groups[_key(seen)] == least]
    if sum(1 for count in groups.values() if count == least) > 1 and len(odd) > 1:
        files = {seen.place.file for seen in odd if seen.place}
        if len(files) != 1:
            return None
        odd.sort(key=lambda seen: (seen.place.line if seen.place else 0, seen.rank))
    return odd[0].rank


def _key(seen: RankSeen) -> tuple[str, str, int]:
    place = seen.place
    return ("", "", 0) if place is None else (place.collective, place.file, place.line)


def _places(look: Look) -> tuple[tuple[int, Place | None], ...]:
    return tuple((seen.rank, seen.place) for seen in look.ranks)


def _told(seen: RankSeen) -> HungRank:
    place = seen.place
    if place is None:
        return HungRank(seen.rank, places.ENDED)
    frames = seen.frames[:MOST_FRAMES]
    return HungRank(seen.rank, place.kind, place.collective, place.where, frames)


def _doing(one: HungRank, gettext: Gettext, *, where: bool = True) -> str:
    doing = gettext(DOING[one.kind]).format(collective=one.collective)
    if not where or not one.where:
        return doing
    return gettext(_AT).format(doing=doing, where=one.where)


def _named_doing(one: HungRank, gettext: Gettext) -> str:
    doing = _doing(one, gettext)
    return gettext(N_("rank {rank} {doing}")).format(rank=one.rank, doing=doing)


def _distinct(ranks: Sequence[HungRank]) -> list[HungRank]:
    """The first rank of each place."""
    found: dict[tuple[str, str, str], HungRank] = {}
    for one in ranks:
        found.setdefault((one.kind, one.collective, one.where), one)
    return list(found.values())
