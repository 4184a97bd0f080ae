"""A million steps of test_lease_machine.py, on all cores: `make soak`.

    python tests/stateful/soak.py [--steps 1000000] [--jobs N] [--seed S]

The steps come in rounds, each of which depends on its seed alone (S, S + 1, ...). A line tells how
far it is and the seed to go on with after a Ctrl-C. A round that fails ends the run with the steps
that led there and the command that runs this round again, smaller.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "fakes"), str(HERE.parents[1])]

EXAMPLES = 20  # of a round


def one_round(seed: int, shrink: bool = False) -> tuple[int, Counter[str], str]:
    """How many steps were done, what happened, and how it failed ("": it did not)."""
    from hypothesis import Phase, settings
    from hypothesis.stateful import run_state_machine_as_test
    from test_lease_machine import LeaseMachine, machine_settings

    LeaseMachine._hypothesis_internal_use_seed = seed
    LeaseMachine.executed.clear()
    LeaseMachine.happened.clear()
    last: list[LeaseMachine] = []
    made = LeaseMachine.__init__

    def make(self: LeaseMachine) -> None:
        made(self)
        last[:] = [self]

    LeaseMachine.__init__ = make  # type: ignore[method-assign]  # to get hold of the last one
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    failure = ""
    try:
        run_state_machine_as_test(
            LeaseMachine,
            settings=settings(machine_settings(EXAMPLES), phases=phases, database=None),
        )
    except Exception:
        steps = "\n".join(f"    {each}" for each in last[-1].told)
        failure = f"in mood {last[-1].mood}:\n{steps}\n{traceback.format_exc()}"
    finally:
        LeaseMachine.__init__ = made  # type: ignore[method-assign]  # as it was
    return LeaseMachine.executed.total(), LeaseMachine.happened.copy(), failure


def main() -> int:
    """The exit status: 1 if a round failed."""
    options = argparse.ArgumentParser(description="Run the state machine of leases for long.")
    options.add_argument("--steps", type=int, default=1_000_000)
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options.add_argument("--seed", type=int, default=int(time.time()))
    options.add_argument("--replay", action="store_true", help="one round, and shrink its failure")
    chosen = options.parse_args()
    if chosen.replay:
        steps, _happened, failure = one_round(chosen.seed, shrink=True)
        print(failure or f"Round {chosen.seed} passed: {steps} steps.")
        return 1 if failure else 0
    done, seed, happened = 0, chosen.seed, Counter[str]()
    began = told = time.monotonic()
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(chosen.jobs, context) as pool:
        rounds = {pool.submit(one_round, seed + n): seed + n for n in range(chosen.jobs)}
        seed += chosen.jobs
        while rounds:
            over, _ = concurrent.futures.wait(rounds, return_when="FIRST_COMPLETED")
            for future in over:
                its_seed = rounds.pop(future)
                steps, what, failure = future.result()
                done += steps
                happened += what
                if failure:
                    print(f"Round {its_seed} failed after {done} steps in all, {failure}")
                    print(f"Again: python tests/stateful/soak.py --replay --seed {its_seed}")
                    pool.shutdown(wait=False, cancel_futures=True)
                    return 1
                if done < chosen.steps:
                    rounds[pool.submit(one_round, seed)] = seed
                    seed += 1
            if time.monotonic() - told > 10 or not rounds:
                told = time.monotonic()
                left = (told - began) * (chosen.steps / max(done, 1) - 1)
                print(
                    f"{done:,} of {chosen.steps:,} steps, {happened['grant']:,} leases; "
                    f"{max(left, 0) / 60:.0f} min to go; go on with --seed "
                    f"{min(rounds.values(), default=seed)}",
                    flush=True,
                )
    for what_, count in happened.most_common():
        print(f"{count:9,} {what_}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
