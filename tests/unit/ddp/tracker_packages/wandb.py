"""Stands in for the package wandb: writes each call to the file in $TRACKER_CALLS.

$WANDB_STAND_IN may say "refuses" (no key), "breaks" (at the third log), "exits", "slow",
"lingers" (at its end), "hangs" or "floods" (standard error, at each log).
"""

import json
import os
import sys
import time

BEHAVIOUR = os.environ.get("WANDB_STAND_IN", "")


def note(**call):
    with open(os.environ["TRACKER_CALLS"], "a") as file:
        file.write(json.dumps(call) + "\n")


class Run:
    dir = os.path.join(os.getcwd(), "wandb", "offline-run-1", "files")
    url = "https://wandb.example/run"
    logged = 0

    def log(self, values):
        self.logged += 1
        if BEHAVIOUR == "breaks" and self.logged == 3:
            raise RuntimeError("connection lost\nand more")
        if BEHAVIOUR == "floods":
            print("wandb: WARNING " + "x" * 20000, file=sys.stderr)
        note(log=values)

    def define_metric(self, name, step_metric):
        note(metric=name, over=step_metric)

    def finish(self, exit_code):
        if BEHAVIOUR == "lingers":
            time.sleep(3)
        note(finish=exit_code)


def init(**options):
    print("wandb prints to standard output, too")
    if BEHAVIOUR == "refuses":
        raise RuntimeError("api_key not configured (no-tty)")
    if BEHAVIOUR == "exits":
        sys.exit(3)
    if BEHAVIOUR == "slow":
        time.sleep(1.5)
    if BEHAVIOUR == "hangs":
        time.sleep(600)
    note(init=options, mode=os.environ.get("WANDB_MODE"), mark=os.environ.get("GPUCAMP_RUN_ID"))
    return Run()
