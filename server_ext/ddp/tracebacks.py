"""Reads a run's log as its ranks wrote it: whose lines are whose, and which exceptions are in them.
Pure.

Guarantees:
- Any text is read, in time that grows with its length only.
- A traceback is found where its first line stands behind a progress bar, where other output runs
  through it, inside a group of exceptions, and inside the message of another (as the DataLoader
  and torch.multiprocessing pass on what a worker met).
- What Python prints about exceptions that end nothing (a finalizer, atexit, a log record) is no
  ending.
- A traceback that ends before it names its exception is an ending, too (Raised without a name):
  the handler of a signal, as the DataLoader has one for its workers, may raise while Python prints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

HEADER = re.compile(r"\[default(\d{1,5})\]:")
MATCHED_CHARACTERS = 4000  # of one line: a pattern never meets a line without end
_MESSAGE_LINES = 40
_FRAME_LINES = 40
_STRANGE_LINES = 200  # of other output inside a traceback

_RANK_PREFIX = re.compile(r"\[rank\d+\]:\s?")
_TRACEBACK = "Traceback (most recent call last):"
_GROUP = re.compile(r"^\s*\+ Exception Group Traceback \(most recent call last\):")
_BARS = re.compile(r"^ +[|+] ?")
_NEXT_OF_GROUP = re.compile(r"^-\+-+ \d+ -+$")
_FRAME = re.compile(r'^\s+File "')
_EXCEPTION = re.compile(r"^[^\W\d][\w.]*(?::|$)")
# Stands for itself behind a frame: of what it cannot compile Python says no "Traceback", and of a
# long traceback the first lines may be before the end of the log that is read.
_NAMED = re.compile(r"^[\w.]*(?:Error|Exception|Interrupt|Exit)(?::|$)")
_LINKED = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
# Before the traceback of an exception that ended nothing.
_IGNORED = re.compile(
    r"^(?:Exception ignored |Error in atexit\.|Error in sys\.excepthook|--- Logging error ---"
    r"|(?:future|task|handle): <)"
)
_THREAD = re.compile(r"^Exception in thread ")  # ends that thread only
_LOG_LINE = re.compile(r"^(?:\[|[DIWEF]\d{4} )")  # another writer's
_CLOSING = re.compile(r"^(?:wandb: |\s|Exception ignored |Error in atexit\.|\S+: \w*Warning: )")


class Line(NamedTuple):
    """position: of the line in the log. marked: torch put the rank's number before it, as before
    each line of an exception that ends a rank.
    """

    position: int
    text: str
    marked: bool = False


@dataclass(frozen=True)
class Raised:
    """An exception whose traceback is in a log. text: its name and message; both it and headline
    are "" where the traceback broke off before them.
    """

    position: int  # of the line that names it
    headline: str
    text: str
    frames: str  # the last lines of its traceback
    evidence: tuple[str, ...]
    after: int  # index of the first line behind it
    linked: bool = False  # raised from, or while, the one before was handled
    in_thread: bool = False

    @property
    def name(self) -> str:
        """Of its class, without the module."""
        return self.headline.partition(":")[0].rpartition(".")[2]

    @property
    def error(self) -> str:
        """Its name and what it says: without a word of its own, the line of code that raised it."""
        name, _, words = self.headline.partition(":")
        code = [line.strip() for line in self.frames.split("\n")[1:]]
        last = next((line for line in reversed(code) if line.strip("~^ ")), "")
        if words.strip() or not last or last.startswith('File "'):
            return self.headline
        return f"{name} ({last})" if name else last


def by_rank(log: str) -> dict[int | None, list[Line]]:
    """The lines of each rank, and torchrun's own under None."""
    streams: dict[int | None, list[Line]] = {}
    unfinished: dict[int | None, str] = {}
    for position, line in enumerate(log.split("\n")):
        if not line:
            streams.setdefault(None, []).append(Line(position, ""))
            continue
        # A header in the middle of a line: torchrun met the line half written.
        parts = HEADER.split(line)
        owners: list[int | None] = [None, *(int(number) for number in parts[1::2])]
        for index, (owner, text) in enumerate(zip(owners, parts[::2], strict=True)):
            if index == 0 and len(owners) > 1 and not text:
                continue
            text = unfinished.pop(owner, "") + text
            if index < len(owners) - 1:
                unfinished[owner] = text[-MATCHED_CHARACTERS:]
            else:
                streams.setdefault(owner, []).append(_line(position, text))
    for owner, text in unfinished.items():
        streams.setdefault(owner, []).append(_line(log.count("\n"), text))
    return {owner: list(_without_bars(lines)) for owner, lines in streams.items()}


def ending(lines: Sequence[Line]) -> list[Raised]:
    """The last exception that may have ended a rank, after those that led to it; [] without one."""
    chains: list[list[Raised]] = []
    for raised in _all(lines):
        if raised.linked and chains:
            chains[-1].append(raised)
        else:
            chains.append([raised])
    whole = [chain for chain in chains if not chain[-1].in_thread]
    return (whole or chains or [[]])[-1]


def went_on(lines: Sequence[Line], raised: Raised) -> bool:
    """Whether more was written after an exception than what an interpreter's end writes."""
    return any(
        line.text.strip() and not (_LOG_LINE.match(line.text) or _CLOSING.match(line.text))
        for line in lines[raised.after :]
    )


def last_words(lines: Sequence[Line]) -> str:
    """The last line that the script wrote; "" if it wrote none."""
    for line in reversed(lines[-100:]):
        if line.text.strip() and not _LOG_LINE.match(line.text):
            return line.text.strip()[:300]
    return ""


def _line(position: int, text: str) -> Line:
    text = text.rstrip("\r").rpartition("\r")[2]  # what a progress bar wrote over is gone
    found = _RANK_PREFIX.match(text)
    if text.endswith(_TRACEBACK) and not found:  # perhaps behind a progress bar
        found = next((one for one in _RANK_PREFIX.finditer(text) if one.end() < len(text)), None)
        if found:
            text = text[found.start() :]
            found = _RANK_PREFIX.match(text)
    if found:
        text = text[found.end() :]
    return Line(position, text[:MATCHED_CHARACTERS], bool(found))


def _without_bars(lines: Sequence[Line]) -> Iterator[Line]:
    """Lines without what draws a group of exceptions as a tree."""
    inside = False
    for line in lines:
        if not inside and not line.text.startswith(" "):
            yield line
            continue
        inside = bool(_GROUP.match(line.text)) or (inside and bool(_BARS.match(line.text)))
        yield Line(line.position, _BARS.sub("", line.text), line.marked) if inside else line


def _all(lines: Sequence[Line]) -> Iterator[Raised]:
    """Every exception with a traceback, in order."""
    index, linked, passed_over = 0, False, False
    before = ""
    while index < len(lines):
        line = lines[index]
        text = line.text.strip()
        if not text:
            index += 1
            continue
        if _is_header(lines, index):
            found = _at(lines, index, linked, bool(_THREAD.match(before)))
            if found is None:
                index += 1
                continue
            raised = found
            # What is linked to one that ended nothing ended nothing either.
            passed_over = bool(_IGNORED.match(before)) or (linked and passed_over)
            if not passed_over:
                yield raised
            index, linked, before = raised.after, False, ""
            continue
        if _NAMED.match(line.text) and _follows_frame(lines, index):
            raised = _raised(lines, max(0, index - 20), index, False, False)
            yield raised
            index, linked, before = raised.after, False, ""
            continue
        linked = text in _LINKED or bool(_NEXT_OF_GROUP.match(text))
        before = line.text
        index += 1


def _at(lines: Sequence[Line], header: int, linked: bool, in_thread: bool) -> Raised | None:
    """The exception whose traceback begins at `header`; None where another's begins before its
    name.
    """
    headline = _headline(lines, header)
    if headline is not None:
        return _raised(lines, header, headline, linked, in_thread)
    end = _broken_off(lines, header)
    return None if end is None else _without_name(lines, header, end, linked, in_thread)


def _is_header(lines: Sequence[Line], index: int) -> bool:
    """A traceback begins here, rather than a text that speaks of one."""
    if not lines[index].text.rstrip().endswith(_TRACEBACK):
        return False
    for line in lines[index + 1 : index + 20]:
        if line.marked == lines[index].marked:
            return bool(_FRAME.match(line.text))
    return lines[index].marked  # and broken off behind it


def _headline(lines: Sequence[Line], header: int) -> int | None:
    """Index of the line that names the exception whose traceback begins at `header`."""
    strange = 0
    for index in range(header + 1, len(lines)):
        line = lines[index]
        if lines[header].marked and not line.marked:
            continue
        if line.text[:1].isspace() or not line.text:
            continue
        if _is_header(lines, index):
            return None
        if _EXCEPTION.match(line.text) and not _runs_through(lines, index):
            return index
        strange += 1
        if strange > _STRANGE_LINES:
            return None
    return None


def _broken_off(lines: Sequence[Line], header: int) -> int | None:
    """Index behind the last line of a traceback with which the output ends, whatever else comes
    when an interpreter ends; None if it goes on.
    """
    marked, end = lines[header].marked, header + 1
    for index in range(header + 1, len(lines)):
        line = lines[index]
        if marked and not line.marked:
            continue
        if line.marked == marked and line.text[:1].isspace():
            end = index + 1
        elif line.text and not (_LOG_LINE.match(line.text) or _CLOSING.match(line.text)):
            return None
    return end


def _runs_through(lines: Sequence[Line], index: int) -> bool:
    """Whether the traceback goes on behind this line, which then is other output."""
    following = lines[index + 1].text if index + 1 < len(lines) else ""
    return bool(_FRAME.match(following)) or (
        bool(_FRAME.match(lines[index - 1].text)) and following.startswith("    ")
    )


def _raised(
    lines: Sequence[Line], header: int, headline: int, linked: bool, in_thread: bool
) -> Raised:
    marked = lines[headline].marked
    last = headline + 1
    message = [lines[headline].text]
    while last < len(lines) and len(message) < _MESSAGE_LINES:
        line = lines[last]
        if _is_header(lines, last) or line.text.strip() in _LINKED:
            break
        if _NEXT_OF_GROUP.match(line.text) or _LOG_LINE.match(line.text) or _ends(line.text):
            break
        if line.marked == marked:
            message.append(line.text)
        elif not marked:
            break
        last += 1
    frames = [
        line.text for line in lines[max(header, headline - 400) : headline] if line.marked == marked
    ]
    name, _, rest = message[0].partition(":")
    said = next((part.strip() for part in (rest, *message[1:]) if part.strip()), "")
    # A message may begin with an empty line.
    head = f"{name}: {said}" if said and not rest.strip() else message[0]
    while len(message) > 1 and not message[-1].strip():
        message.pop()
    evidence = [*frames[:1], *frames[1:][-16:], *message[:8]]
    return Raised(
        position=lines[headline].position,
        headline=head,
        text="\n".join(message),
        frames="\n".join(frames[-_FRAME_LINES:]),
        evidence=tuple(evidence),
        after=last,
        linked=linked,
        in_thread=in_thread,
    )


def _without_name(
    lines: Sequence[Line], header: int, end: int, linked: bool, in_thread: bool
) -> Raised:
    frames = [line.text for line in lines[header:end] if line.marked == lines[header].marked]
    return Raised(
        position=lines[end - 1].position,
        headline="",
        text="",
        frames="\n".join(frames[-_FRAME_LINES:]),
        evidence=(*frames[:1], *frames[1:][-16:]),
        after=end,
        linked=linked,
        in_thread=in_thread,
    )


def _ends(text: str) -> bool:
    """What the interpreter's end writes is no part of a message."""
    return bool(_IGNORED.match(text) or _THREAD.match(text))


def _follows_frame(lines: Sequence[Line], index: int) -> bool:
    before = [line.text for line in lines[max(0, index - 5) : index]]
    return any(map(_FRAME.match, before)) and before[-1][:1].isspace()
