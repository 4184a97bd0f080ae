"""Copies a file, a link or a folder with all in it to another file system, then takes the original
away. Blocking.

Guarantees: links are copied as links and never followed; hard links, holes, modes and times are
kept (but the owner may always enter and change the copied folder itself); what only its mode keeps
its owner from reading is copied all the same; pipes are made anew, sockets are not. `take_away`
deletes only what is as it was copied: what was changed or came meanwhile stays.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress

_CHUNK = 2**23
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Mark = tuple[int, int, int, int]


Told = Callable[[int], None]  # bytes of data that were copied since; what it raises ends the copy


def mark(facts: os.stat_result) -> Mark:
    """Another one where a file was replaced or written to; of folders, only where replaced."""
    kind = stat.S_IFMT(facts.st_mode)
    if kind == stat.S_IFDIR:
        return (kind, facts.st_ino, 0, 0)
    return (kind, facts.st_ino, facts.st_size, facts.st_mtime_ns)


def copy(source: str, target: str, told: Told) -> dict[str, Mark]:
    """What of `source` was copied, parents before what is in them. target does not exist yet, its
    folder does. Raises OSError and what `told` raises: then a part of the copy is left.
    """
    loosened: dict[str, int] = {}
    try:
        return _copy(source, target, told, loosened)
    except BaseException:
        for path, mode in reversed(loosened.items()):
            with suppress(OSError):
                os.chmod(path, mode)
        raise


def unchanged(marks: Mapping[str, Mark]) -> bool:
    """Whether the original is still what was copied: nothing was changed, and nothing came."""
    try:
        for path, before in marks.items():
            if mark(os.lstat(path)) != before:
                return False
            if before[0] == stat.S_IFDIR and any(
                os.path.join(path, name) not in marks for name in os.listdir(path)
            ):
                return False
    except OSError:
        return False
    return True


def take_away(marks: dict[str, Mark]) -> bool:
    """Deletes the original; False: a part of it stays."""
    whole = True
    for path, before in marks.items():
        if before[0] == stat.S_IFDIR:
            with suppress(OSError):
                _loosen(path, os.lstat(path), {})
    for path, before in reversed(marks.items()):
        try:
            if mark(os.lstat(path)) != before:
                whole = False
            elif before[0] == stat.S_IFDIR:
                os.rmdir(path)
            else:
                os.unlink(path)
        except FileNotFoundError:
            continue
        except OSError:
            whole = False
    return whole


def _copy(source: str, target: str, told: Told, loosened: dict[str, int]) -> dict[str, Mark]:
    marks: dict[str, Mark] = {}
    links: dict[tuple[int, int], str] = {}
    folders: list[tuple[str, os.stat_result]] = []
    todo = [(source, target)]
    while todo:
        told(0)
        path, new = todo.pop()
        facts = os.lstat(path)
        marks[path] = mark(facts)
        if stat.S_ISDIR(facts.st_mode):
            _loosen(path, facts, loosened)
            os.mkdir(new, 0o700)
            names = os.listdir(path)
            todo += [(os.path.join(path, name), os.path.join(new, name)) for name in names]
            folders.append((new, facts))
            continue
        number = (facts.st_dev, facts.st_ino)
        if facts.st_nlink > 1 and number in links:
            os.link(links[number], new, follow_symlinks=False)
            continue
        _copy_one(path, new, facts, told, loosened)
        if facts.st_nlink > 1:
            links[number] = new
    for new, facts in reversed(folders):  # when all is in it, so that its mode and time stay
        # a folder that its owner may not change cannot be renamed into its place
        allowed = stat.S_IRWXU if new == target else 0
        os.chmod(new, stat.S_IMODE(facts.st_mode) | allowed)
        os.utime(new, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    return marks


def _loosen(path: str, facts: os.stat_result, loosened: dict[str, int]) -> None:
    """Lets the owner read (and of a folder, change) what its mode forbids."""
    mode = stat.S_IMODE(facts.st_mode)
    wanted = mode | (stat.S_IRWXU if stat.S_ISDIR(facts.st_mode) else stat.S_IRUSR)
    if wanted != mode and facts.st_uid == os.geteuid():
        os.chmod(path, wanted)
        loosened[path] = mode


def _copy_one(
    path: str,
    new: str,
    facts: os.stat_result,
    told: Told,
    loosened: dict[str, int],
) -> None:
    if stat.S_ISLNK(facts.st_mode):
        os.symlink(os.readlink(path), new)
        os.utime(new, ns=(facts.st_atime_ns, facts.st_mtime_ns), follow_symlinks=False)
    elif stat.S_ISFIFO(facts.st_mode):
        os.mkfifo(new)
        os.chmod(new, stat.S_IMODE(facts.st_mode))
        os.utime(new, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    elif stat.S_ISREG(facts.st_mode):
        _loosen(path, facts, loosened)
        _copy_file(path, new, facts, told)
    elif not stat.S_ISSOCK(facts.st_mode):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)


def _copy_file(path: str, new: str, facts: os.stat_result, told: Told) -> None:
    with open(os.open(path, _READ), "rb", buffering=0) as old:
        if mark(os.fstat(old.fileno())) != mark(facts):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
        with open(os.open(new, _NEW, 0o600), "wb", buffering=0) as file:
            _copy_data(old.fileno(), file.fileno(), facts.st_size, told)
            os.ftruncate(file.fileno(), facts.st_size)
            os.fchmod(file.fileno(), stat.S_IMODE(facts.st_mode))
            os.utime(file.fileno(), ns=(facts.st_atime_ns, facts.st_mtime_ns))


def _copy_data(old: int, new: int, size: int, told: Told) -> None:
    """Without the holes."""
    end = 0
    while end < size:
        try:
            start = os.lseek(old, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole follows
                return
            raise
        end = min(os.lseek(old, start, os.SEEK_HOLE), size)
        os.lseek(new, start, os.SEEK_SET)
        while start < end:
            sent = os.sendfile(new, old, start, min(_CHUNK, end - start))
            if sent == 0:
                return  # it became shorter: `unchanged` will notice
            start += sent
            told(sent)
