"""Space, memory and tools of the container. Pure."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from ...i18n import N_
from ..facts import Facts, integer_of, text_of
from ..findings import Code, Finding, check
from . import reading

SMALL_SHM = Code(
    "GC401",
    "resources",
    "blocker",
    "instructor",
    N_("/dev/shm is small ({size}): data loaders and NCCL end with a bus error."),
    N_("Use fewer DataLoader workers (num_workers=0 works); the instructor can raise shm_size."),
)
FULL_SHM = Code(
    "GC402",
    "resources",
    "degraded",
    "you",
    N_("/dev/shm is full: {free} of {size} are free."),
    N_("Stop kernels and runs that you do not need, then restart the server if it stays full."),
)
SHM_LEFTOVERS = Code(
    "GC403",
    "resources",
    "advice",
    "you",
    N_("Ended programs left {count} files in /dev/shm ({size})."),
    N_("Delete them; no running program uses them."),
)
OOM = Code(
    "GC404",
    "resources",
    "degraded",
    "you",
    N_("A program was killed because the container ran out of memory ({count} times so far)."),
    N_("Use smaller batches or fewer DataLoader workers, and shut down kernels you do not need."),
)
DISK_FULL = Code(
    "GC405",
    "resources",
    "blocker",
    "you",
    N_("The disk of {path} is full: {free} are free."),
    N_("Delete what you do not need there; in your home, begin with `pip cache purge`."),
    "du -xh --max-depth=2 {path} | sort -h | tail -20",
)
DISK_NEARLY_FULL = Code(
    "GC406",
    "resources",
    "advice",
    "you",
    N_("The disk of {path} is nearly full: {free} are free."),
    N_("Delete what you do not need there soon; in your home, begin with `pip cache purge`."),
    "du -xh --max-depth=2 {path} | sort -h | tail -20",
)
NO_INODES = Code(
    "GC407",
    "resources",
    "blocker",
    "you",
    N_("The disk of {path} can hold no more files (no inodes are free)."),
    N_("Delete folders with very many small files, e.g. an unpacked data set or a cache."),
    "du -x --inodes --max-depth=2 {path} | sort -n | tail -20",
)
NO_COMPILER = Code(
    "GC408",
    "resources",
    "degraded",
    "instructor",
    N_("There is no C compiler: torch.compile and C++ extensions fail."),
    N_("Use the gpucamp image, which has gcc; or set TORCHDYNAMO_DISABLE=1."),
)
NO_HEADERS = Code(
    "GC409",
    "resources",
    "degraded",
    "instructor",
    N_("Python.h is missing: torch.compile and C++ extensions fail."),
    N_("Use the gpucamp image, which has it; or set TORCHDYNAMO_DISABLE=1."),
)
FEW_FILES = Code(
    "GC410",
    "resources",
    "advice",
    "instructor",
    N_("A program may open only {limit} files: many data loader workers reach that."),
    N_("Use fewer workers; the instructor can raise the container's nofile limit."),
)
ORPHANS = Code(
    "GC411",
    "resources",
    "degraded",
    "you",
    N_("{count} ranks of an ended torchrun are still running and hold memory."),
    N_("End them."),
)
SCARCE_SHM = Code(
    "GC413",
    "resources",
    "degraded",
    "instructor",
    N_("/dev/shm is rather small ({size}): large batches or many workers may fill it."),
    N_("Use fewer DataLoader workers if a bus error comes; the instructor can raise shm_size."),
)
STORAGE_HANGS = Code(
    "GC412",
    "resources",
    "degraded",
    "instructor",
    N_("The container's storage does not answer in time."),
    N_("Save your work and tell your instructor."),
)

# Docker's default, with which NCCL and data loader workers fail
SMALL_SHM_BYTES = 64 * 2**20
SCARCE_SHM_BYTES = 512 * 2**20
FULL_BYTES = 100 * 2**20
NEARLY_FULL_BYTES = 2**30
FEW_FILES_LIMIT = 1024


@check("resources", ("resources",), (STORAGE_HANGS,))
def storage_answers(facts: Facts) -> Iterator[Finding]:
    """The file systems answer in time."""
    failure = facts.failure("resources")
    if failure is None:
        reading.require(facts, "resources", "filesystems")
    elif failure.kind == "timeout":
        yield Finding(STORAGE_HANGS, reading.failure_evidence(failure), tells=("resources",))


@check("resources", ("resources",), (SMALL_SHM, SCARCE_SHM, FULL_SHM, SHM_LEFTOVERS))
def shared_memory_is_enough(facts: Facts) -> Iterator[Finding]:
    """/dev/shm is large enough, has room, and holds no leftovers."""
    size = facts.integer("resources", "filesystems", "shm", "bytes")
    free = facts.integer("resources", "filesystems", "shm", "free_bytes")
    if size is not None and size < SCARCE_SHM_BYTES:
        code = SMALL_SHM if size <= SMALL_SHM_BYTES else SCARCE_SHM
        yield Finding(code, (f"{size} bytes",), {"size": reading.gibibytes(size)})
    if size and free is not None and free < size * 0.05:
        sizes = {"free": reading.gibibytes(free), "size": reading.gibibytes(size)}
        yield Finding(FULL_SHM, (f"{free} of {size} bytes",), sizes)
    reading.require(facts, "resources", "shm_leftovers")
    leftovers = facts.objects("resources", "shm_leftovers")
    if leftovers:
        total = sum(integer_of(item, "bytes") or 0 for item in leftovers)
        names = [text_of(item, "name") for item in leftovers]
        # only names that need no quoting: the command may be copied into a shell
        plain = [f"/dev/shm/{name}" for name in names if _is_plain(name)]
        params = {
            "count": str(len(names)),
            "size": reading.gibibytes(total),
            "files": " ".join(plain[:50]),
        }
        yield Finding(SHM_LEFTOVERS, tuple(names[:10]), params)
    # one that is not there is told by the check of the folders
    if f"[Errno {errno.ENOENT}]" not in (
        facts.text("resources", "filesystems", "shm", "error") or ""
    ):
        reading.require(facts, "resources", "filesystems", "shm")


def _is_plain(name: str) -> bool:
    return name.isascii() and all(c.isalnum() or c in "-_." for c in name)


@check("resources", ("resources",), (OOM,))
def memory_was_enough(facts: Facts) -> Iterator[Finding]:
    """The kernel killed nothing for want of memory."""
    reading.require(facts, "resources", "memory")
    kills = facts.integer("resources", "memory", "oom_kills")
    if kills:
        limit = facts.integer("resources", "memory", "limit_bytes")
        evidence = [f"oom_kill {kills}"]
        if limit:
            evidence.append(f"limit {reading.gibibytes(limit)}")
        yield Finding(OOM, tuple(evidence), {"count": str(kills)})


@check("resources", ("resources",), (DISK_FULL, DISK_NEARLY_FULL, NO_INODES))
def disks_have_room(facts: Facts) -> Iterator[Finding]:
    """Work, home and /tmp have room for data and files."""
    seen = set()
    for name in ("work", "home", "tmp"):
        path = facts.text("resources", "filesystems", name, "path") or name
        device = facts.integer("resources", "filesystems", name, "device")
        size = facts.integer("resources", "filesystems", name, "bytes")
        free = facts.integer("resources", "filesystems", name, "free_bytes")
        if size is None or free is None or device in seen:
            continue
        seen.add(device)
        params = {"path": path, "free": reading.gibibytes(free)}
        evidence = (f"{path}: {free} of {size} bytes free",)
        # a small file system, such as a tmpfs, is full by share, not by size
        if free < min(FULL_BYTES, size * 0.02):
            yield Finding(DISK_FULL, evidence, params)
        elif free < min(NEARLY_FULL_BYTES, size * 0.05):
            yield Finding(DISK_NEARLY_FULL, evidence, params)
        inodes = facts.integer("resources", "filesystems", name, "inodes")
        free_inodes = facts.integer("resources", "filesystems", name, "free_inodes")
        if inodes and free_inodes is not None and free_inodes < 10:
            yield Finding(NO_INODES, (f"{path}: {free_inodes} of {inodes} inodes free",), params)
    for name in ("work", "home", "tmp"):
        # a folder that is not there cannot be full; one that cannot be read may be
        error = facts.text("resources", "filesystems", name, "error") or ""
        if f"[Errno {errno.ENOENT}]" not in error:
            reading.require(facts, "resources", "filesystems", name)


@check("resources", ("resources", "python"), (NO_COMPILER, NO_HEADERS))
def extensions_can_be_built(facts: Facts) -> Iterator[Finding]:
    """There are a C compiler and Python's headers."""
    values = facts.mapping("resources")
    reading.require(facts, "resources", "limits")
    if "compiler" in values and values["compiler"] is None:
        yield Finding(NO_COMPILER, ("no gcc, cc or clang on PATH",))
    if facts.flag("python", "python_h") is False:
        yield Finding(NO_HEADERS, ("Python.h not found",))


@check("resources", ("resources",), (FEW_FILES,))
def enough_files_may_be_open(facts: Facts) -> Iterator[Finding]:
    """The limit of open files leaves room for data loader workers."""
    reading.require(facts, "resources", "limits", "nofile")
    limit = facts.integer("resources", "limits", "nofile")
    if limit is not None and 0 <= limit <= FEW_FILES_LIMIT:
        yield Finding(FEW_FILES, (f"RLIMIT_NOFILE {limit}",), {"limit": str(limit)})


@check("resources", ("resources",), (ORPHANS,))
def no_rank_is_orphaned(facts: Facts) -> Iterator[Finding]:
    """No rank outlived its torchrun."""
    reading.require(facts, "resources", "orphan_ranks")
    orphans = facts.objects("resources", "orphan_ranks")
    if orphans:
        pids = [str(integer_of(item, "pid")) for item in orphans if integer_of(item, "pid")]
        evidence = tuple(f"{item.get('pid')}: {text_of(item, 'command')}" for item in orphans[:10])
        yield Finding(ORPHANS, evidence, {"count": str(len(orphans)), "pids": " ".join(pids)})


CHECKS = (
    storage_answers,
    shared_memory_is_enough,
    memory_was_enough,
    disks_have_room,
    extensions_can_be_built,
    enough_files_may_be_open,
    no_rank_is_orphaned,
)
