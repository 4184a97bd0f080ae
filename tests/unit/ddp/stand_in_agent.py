"""Stands in for torchrun in unit tests: starts ranks in sessions of their own, as torchrun does.

    stand_in_agent.py <torchrun's options> script.py BEHAVIOUR...

Like torchrun it forwards SIGTERM to the ranks, waits 30 s for them, and leaves orphans when it is
killed itself. The script is not run; a rank behaves as BEHAVIOUR says:

seconds=S        lives for S seconds (default 0.2)
stubborn         ignores SIGTERM
stubborn-agent   the agent ignores it, too
helper           starts a child process that outlives it, in a session of its own, with no mark
grandchild       has a child of its own that ignores SIGTERM
exit=N           rank 1 exits with N
say=TEXT         rank 0 says it
steps=N          rank 0 prints N times a second that it made ten steps, while it lives
megabytes=N      rank 0 writes N MB of lines
barrier=FOLDER   all but rank 1 wait in the barrier() of FOLDER's own torch, until FOLDER/go is
                 there
busy             rank 1 computes instead of waiting
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time


def options(words: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def of_the_script(words: list[str]) -> list[str]:
    """What follows the script among torchrun's arguments."""
    return words[next(index for index, word in enumerate(words) if word.endswith(".py")) + 1 :]


def rank_main(rank: int, behaviour: dict[str, str]) -> int:
    if "stubborn" in behaviour:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "grandchild" in behaviour:
        subprocess.Popen([sys.executable, __file__, "--sleep", "60"], start_new_session=True)
    if "helper" in behaviour:
        subprocess.Popen(
            [sys.executable, __file__, "--sleep", "60"], start_new_session=True, env={}
        )
    print(f"[default{rank}]:rank {rank} ready", flush=True)
    if rank == 0 and "say" in behaviour:
        print(f"[default0]:{behaviour['say']}", flush=True)
    if rank == 0 and "megabytes" in behaviour:
        line = f"[default0]:{'x' * 88}\n".encode() * 10000
        for _ in range(int(behaviour["megabytes"])):
            os.write(1, line)
    seconds = float(behaviour.get("seconds", "0.2"))
    if rank != 1 and "barrier" in behaviour:
        sys.path.insert(0, os.path.join(behaviour["barrier"], "site-packages"))
        from torch.distributed import distributed_c10d

        distributed_c10d.barrier(os.path.join(behaviour["barrier"], "go"))
    if rank == 1 and "busy" in behaviour:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pass
    if rank == 0 and "steps" in behaviour:
        for step in range(0, 10 * int(seconds * int(behaviour["steps"])), 10):
            print(f"[default0]:step={step} loss=1", flush=True)
            time.sleep(1 / int(behaviour["steps"]))
    else:
        time.sleep(seconds)
    if rank == 1 and "exit" in behaviour:
        return int(behaviour["exit"])
    print(f"[default{rank}]:loss=0.5", flush=True)
    return 0


def agent_main(arguments: list[str]) -> int:
    count = int(arguments[arguments.index("--nproc-per-node") + 1])
    behaviour = options(of_the_script(arguments))
    ranks = []
    for rank in range(count):
        command = [sys.executable, __file__, "--rank", str(rank), *arguments]
        environment = {**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        ranks.append(subprocess.Popen(command, env=environment, start_new_session=True))

    def forward(number: int, frame: object) -> None:
        if "stubborn-agent" in behaviour:
            return
        for rank in ranks:
            rank.terminate()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and any(rank.poll() is None for rank in ranks):
            time.sleep(0.02)
        for rank in ranks:
            rank.kill()
        sys.exit(1)

    signal.signal(signal.SIGTERM, forward)
    # not wait(): its lock would make poll() in the handler say "alive" for ever
    while any([rank.poll() is None for rank in ranks]):  # a list: each is asked
        if any(rank.returncode for rank in ranks):
            forward(0, None)  # one has failed: the others are ended, as torchrun does
        time.sleep(0.02)
    return next((1 for rank in ranks if rank.returncode), 0)


if __name__ == "__main__":
    if sys.argv[1] == "--sleep":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(float(sys.argv[2]))
        sys.exit(0)
    if sys.argv[1] == "--rank":
        words = sys.argv[3:]
        sys.exit(rank_main(int(sys.argv[2]), options(of_the_script(words))))
    sys.exit(agent_main(sys.argv[1:]))
