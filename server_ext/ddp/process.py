"""Starts a run's agent (torchrun), finds every process that belongs to a run, and ends them.

Guarantees:
- A process is named by its pid *and* its start time, and is signalled through a pidfd checked
  against both: a pid that the kernel gave to someone else is never hit.
- The processes of a run are found by the mark in their environment, by descent from one that was
  found, and by having been recorded before; each rank has a session of its own, so that no
  process group holds them all.
- `end_all` returns when nothing of the run is left, or says what is (a process in an
  uninterruptible system call cannot be killed by anyone).
- The agent is not tied to this server: its output goes to a file, it has a session of its own,
  and it outlives us. So it is a Popen; asyncio's transport would kill it in its destructor.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess  # noqa: S404 - argv lists only, never a shell
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from .launch_plan import RUN_MARK, Plan, child_environment

_POLL_SECONDS = 0.1
_MAXIMUM_ENVIRON = 1024 * 1024
MOST_MEMBERS = 1000  # that a record keeps, as far as they have gone


@dataclass(frozen=True)
class Identity:
    """A process that is this one and no later bearer of its pid.

    started: clock ticks since boot. rank: of DDP, None for the agent and helpers.
    """

    pid: int
    started: int
    rank: int | None = None

    @property
    def key(self) -> tuple[int, int]:
        """What makes it this process."""
        return self.pid, self.started


def start_agent(plan: Plan, environ: Mapping[str, str], log: str) -> subprocess.Popen[bytes]:
    """Start the command, its output to the end of file `log`. Raises OSError. Blocking, briefly."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(  # noqa: S603 - a list from a checked plan
            plan.argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=plan.working_directory,
            env=child_environment(environ, plan),
            start_new_session=True,
        )
    finally:
        os.close(output)


def identify(pid: int, rank: int | None = None) -> Identity | None:
    """The process that has this pid now; None if there is none, or only its remains."""
    found = _stat(pid)
    return None if found is None else Identity(pid, found[1], rank)


def is_alive(identity: Identity) -> bool:
    """Whether this very process still runs. A zombie does not."""
    found = _stat(identity.pid)
    return found is not None and found[1] == identity.started


def send_signal(identity: Identity, number: signal.Signals) -> bool:
    """Signal this very process; False when it is gone (or not ours)."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM):  # an old kernel, a strict seccomp profile
            return _kill(identity, number)
        return False
    try:
        # The descriptor holds on to whoever has the pid now; only then is the start time asked.
        if not is_alive(identity):
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(descriptor)


def find_processes(run_id: str, known: Collection[Identity] = ()) -> list[Identity]:
    """Everything alive that belongs to the run: marked, known before, or descended from such.

    Never this process itself. Blocking: reads /proc once.
    """
    mark = f"{RUN_MARK}={run_id}".encode()
    keys = {identity.key: identity for identity in known}
    mine = os.getpid()
    found: dict[int, Identity] = {}
    parents: dict[int, tuple[int, int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == mine:
            continue
        pid = int(name)
        state = _stat(pid)
        if state is None:
            continue
        parent, started = state
        parents[pid] = (parent, started)
        if (pid, started) in keys:
            found[pid] = keys[pid, started]
        variables = _environ(pid)
        if mark in variables:
            found[pid] = Identity(pid, started, _rank(variables))
    for pid, (parent, _started) in parents.items():
        line = [pid]
        while parent in parents and parent not in found and len(line) < 1000:
            line.append(parent)
            parent = parents[parent][0]
        if parent in found:
            for member in line:
                found.setdefault(member, Identity(member, parents[member][1]))
    return sorted(found.values(), key=lambda identity: identity.pid)


async def end_all(
    run_id: str,
    known: Collection[Identity],
    *,
    agent: Identity | None,
    agent_patience: float,
    patience: float,
    give_up: float = 20.0,
) -> list[Identity]:
    """End everything of a run; returns what could not be ended.

    First the agent is asked (SIGTERM; it asks its ranks) and waited for up to `agent_patience`
    seconds; then what remains is asked and waited for up to `patience`; then it is killed, again
    and again as long as something new appears, up to `give_up` seconds.
    """
    members = {identity.key: identity for identity in known}

    async def left() -> list[Identity]:
        alive = await asyncio.to_thread(find_processes, run_id, list(members.values()))
        members.update({identity.key: identity for identity in alive})
        return alive

    remaining = await left()
    if agent is not None and agent_patience > 0 and send_signal(agent, signal.SIGTERM):
        deadline = time.monotonic() + agent_patience
        while is_alive(agent) and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_SECONDS)
            remaining = await left()
        remaining = await left()
    if patience > 0 and not (agent is not None and is_alive(agent)):
        asked: set[tuple[int, int]] = set()
        deadline = time.monotonic() + patience
        while remaining and time.monotonic() < deadline:
            for identity in remaining:
                if identity.key not in asked:
                    asked.add(identity.key)
                    send_signal(identity, signal.SIGTERM)
            await asyncio.sleep(_POLL_SECONDS)
            remaining = await left()
    deadline = time.monotonic() + give_up
    while remaining and time.monotonic() < deadline:
        # The agent first: it must not start a rank anew while its ranks are killed.
        for identity in sorted(remaining, key=lambda one: one != agent):
            send_signal(identity, signal.SIGKILL)
        await asyncio.sleep(_POLL_SECONDS / 2)
        remaining = await left()
    return remaining


def _kill(identity: Identity, number: signal.Signals) -> bool:
    if not is_alive(identity):
        return False
    try:
        os.kill(identity.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _stat(pid: int) -> tuple[int, int] | None:
    """(parent, start time in ticks) of a process that is alive, else None."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    # The name, in brackets, may contain anything, brackets and spaces too.
    fields = text[text.rfind(b")") + 2 :].split()
    if len(fields) < 20 or fields[0] in (b"Z", b"X", b"x"):
        return None
    return int(fields[1]), int(fields[19])


def _environ(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read(_MAXIMUM_ENVIRON).split(b"\0")
    except OSError:
        return []


def _rank(variables: list[bytes]) -> int | None:
    for variable in variables:
        if variable.startswith(b"RANK="):
            try:
                return int(variable[5:])
            except ValueError:
                return None
    return None


def merge(old: Collection[Identity], new: Collection[Identity]) -> tuple[Identity, ...]:
    """All that were seen, in order of pid; a rank learnt later is kept. new: those alive.

    Of more than MOST_MEMBERS those that have gone are left out, one of each rank excepted: the
    workers of many epochs would outgrow the record.
    """
    members = {identity.key: identity for identity in old}
    for identity in new:
        before = members.get(identity.key)
        if before is None or before.rank is None:
            members[identity.key] = identity
    if len(members) > MOST_MEMBERS:
        alive = {identity.key for identity in new}
        of_ranks = {one.rank: one.key for one in members.values() if one.rank is not None}
        kept = alive.union(of_ranks.values())
        members = {key: identity for key, identity in members.items() if key in kept}
    return tuple(sorted(members.values(), key=lambda identity: identity.pid))
