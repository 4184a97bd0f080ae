"""Runs in a container of the image that has a kept environment at /kept, read-only.

    reader.py list PATH     {"entries": [{name, kind, bytes, modified_at}], "more": n}
    reader.py read PATH     {"bytes": n} in one line, then the file's content

or {"error": "missing" | "no-folder" | "no-file" | "refused"}. PATH is relative, "" the home itself.

Guarantees: no link is followed, at any step, so nothing outside of the home is ever read; a fifo or
a device is not opened; what is listed is bounded. Standard library only, for any Python 3.
"""

import json
import os
import stat
import sys

ROOT = "/kept"
MOST_ENTRIES = 2000
CHUNK = 2**18

_KINDS = ((stat.S_ISDIR, "folder"), (stat.S_ISREG, "file"), (stat.S_ISLNK, "link"))


class Refused(Exception):
    """Nothing can be shown; the argument is the answer's code."""


def _open(root, path, code, flags=0):
    """A descriptor of what is there, every step of the way looked at. Raises Refused."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    parts = [part for part in path.split("/") if part]
    if any(part in (".", "..") or "\0" in part for part in parts):
        raise Refused("missing")
    try:
        for place, part in enumerate(parts):
            last = place == len(parts) - 1
            more = flags if last else os.O_DIRECTORY
            # not to wait for the other end of a fifo
            further = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | more
            step = os.open(part, further, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = step
    except FileNotFoundError:
        raise Refused("missing") from None
    except PermissionError:
        raise Refused("refused") from None
    except OSError:  # a link, a file on the way, a socket
        raise Refused(code) from None
    return descriptor


def entries(root, path):
    """What is in a folder, folders first, by name. Raises Refused."""
    descriptor = _open(root, path, "no-folder", os.O_DIRECTORY)
    found, more = [], 0
    try:
        with os.scandir(descriptor) as listing:
            for entry in listing:
                if len(found) == MOST_ENTRIES:
                    more += 1
                    continue
                found.append(_entry(entry))
    except PermissionError:
        raise Refused("refused") from None
    found.sort(key=lambda each: (each["kind"] != "folder", each["name"].lower(), each["name"]))
    return {"entries": found, "more": more}


def _entry(entry):
    try:
        facts = entry.stat(follow_symlinks=False)
    except OSError:  # it is in a folder that may be listed and not looked into
        return {"name": entry.name, "kind": "other", "bytes": None, "modified_at": None}
    kind = next((name for test, name in _KINDS if test(facts.st_mode)), "other")
    size = facts.st_size if kind == "file" else None
    return {"name": entry.name, "kind": kind, "bytes": size, "modified_at": int(facts.st_mtime)}


def opened(root, path):
    """A regular file and its size. Raises Refused."""
    descriptor = _open(root, path, "no-file")
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        raise Refused("no-file")
    return descriptor, facts.st_size


def main(action, path):
    """Answers on stdout."""
    out = sys.stdout.buffer
    try:
        if action == "list":
            out.write(json.dumps(entries(ROOT, path)).encode("ascii"))
            return
        descriptor, size = opened(ROOT, path)
    except Refused as refused:
        out.write(json.dumps({"error": refused.args[0]}).encode("ascii") + b"\n")
        return
    out.write(json.dumps({"bytes": size}).encode("ascii") + b"\n")
    left = size
    while left:
        chunk = os.read(descriptor, min(CHUNK, left))
        if not chunk:
            break
        left -= len(chunk)
        out.write(chunk)


if __name__ == "__main__":
    main(*sys.argv[1:3])
