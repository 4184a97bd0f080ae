"""Writes points to TensorBoard and Weights & Biases: a program of its own, for the user's Python.

It is run by whatever Python the kernel has (3.9 or newer), so it imports nothing of ours. It reads
JSON lines from its standard input: {"open": [tracker]}, {"points": [[counter, step, values]]},
{"close": exit code}; it writes JSON lines of what became of each tracker: {name, state, where,
reason}, where state is "open", "missing" (its package is not installed), "failed" or "closed".

Guarantees: one tracker that fails does not keep the other from its points; when the server ends
(the input does) what was received is written, and the program ends within CLOSE_SECONDS of that,
also where a tracker hangs and the end of the input was not read.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

CLOSE_SECONDS = 120  # to upload what is left
_LARGEST_STEP = 2**53


class TensorBoard:
    """An event file in a folder of the run's own. counts: the points that each name has there."""

    def __init__(self, tracker: dict[str, Any]) -> None:
        self.where = os.path.join(tracker["where"], tracker["title"])
        self._counts: dict[str, int] = dict(tracker["counts"])
        self._writer = _event_writer(self.where)

    def add(self, _counter: str | None, step: float | None, values: dict[str, float]) -> None:
        """One line's numbers; TensorBoard's steps are whole numbers."""
        whole = step is not None and step == int(step) and abs(step) < _LARGEST_STEP
        for name, value in values.items():
            count = self._counts.get(name, 0)
            self._counts[name] = count + 1
            self._writer.add(name, value, int(step) if whole and step is not None else count)

    def flush(self) -> None:
        """So that who looks now sees it."""
        self._writer.flush()

    def close(self, _exit_code: int) -> None:
        """The run is over."""
        self._writer.close()


class WandB:
    """A run of Weights & Biases with our run's id."""

    def __init__(self, tracker: dict[str, Any]) -> None:
        os.environ.update(
            {
                "WANDB_CONSOLE": "off",
                "WANDB_SILENT": "true",
                # this process's use of the machine would be shown as the run's
                "WANDB_X_DISABLE_STATS": "true",
                "WANDB__DISABLE_STATS": "true",  # the same before 0.19
            }
        )
        if tracker["offline"]:
            os.environ["WANDB_MODE"] = "offline"
        import wandb

        self._run = wandb.init(
            project=tracker["where"],
            id=tracker["run"],
            name=tracker["title"],
            config=tracker["config"],
            resume="allow",  # by a server that took the run over
        )
        folder = os.path.dirname(self._run.dir)
        self.where = folder if tracker["offline"] else self._run.url or ""
        self._placed: set[str] = set()

    def add(self, counter: str | None, step: float | None, values: dict[str, float]) -> None:
        """One line's numbers, drawn over what counts the steps."""
        if counter is None:
            self._run.log(values)
            return
        for name in values.keys() - self._placed:
            self._run.define_metric(name, step_metric=counter)
            self._placed.add(name)
        self._run.log({**values, counter: step})

    def flush(self) -> None:
        """Its own process sends."""

    def close(self, exit_code: int) -> None:
        """The run is over; waits for what is still to be sent."""
        self._run.finish(exit_code=exit_code)


class _OfTensorBoard:
    """TensorBoard's own writer: unlike torch.utils.tensorboard it does not wait for torch."""

    def __init__(self, folder: str) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._event, self._summary = Event, Summary
        self._writer = EventFileWriter(folder)
        self.flush, self.close = self._writer.flush, self._writer.close

    def add(self, name: str, value: float, step: int) -> None:
        summary = self._summary(value=[self._summary.Value(tag=name, simple_value=value)])
        self._writer.add_event(self._event(wall_time=time.time(), step=step, summary=summary))


class _OfTensorboardX:
    def __init__(self, folder: str) -> None:
        from tensorboardX import SummaryWriter

        writer = SummaryWriter(folder)
        self.add, self.flush, self.close = writer.add_scalar, writer.flush, writer.close


def _event_writer(folder: str) -> Any:
    try:
        return _OfTensorBoard(folder)
    except ModuleNotFoundError as error:
        try:
            return _OfTensorboardX(folder)
        except ModuleNotFoundError:
            raise error from None


KINDS: dict[str, Callable[[dict[str, Any]], Any]] = {"tensorboard": TensorBoard, "wandb": WandB}


class _Guard(AbstractContextManager["_Guard"]):
    """A tracker's failure is told, and the tracker dropped."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        # a library that calls sys.exit() is no reason to end either
        if error is None or isinstance(error, KeyboardInterrupt):
            return False
        self._failed(error)
        return True


class Trackers:
    """Those that are open. tell: (name, state, where, reason)."""

    def __init__(self, tell: Callable[[str, str, str, str], None]) -> None:
        self._tell = tell
        self._open: dict[str, Any] = {}

    def open(self, trackers: list[dict[str, Any]]) -> None:
        """Opens what can be."""
        for tracker in trackers:
            name = tracker["name"]
            with self._guard(name):
                self._open[name] = KINDS[name](tracker)
                self._tell(name, "open", self._open[name].where, "")

    def add(self, points: list[Any]) -> None:
        """points: (counter, step, values) each."""
        for name, tracker in list(self._open.items()):
            with self._guard(name):
                for point in points:
                    tracker.add(*point)
                tracker.flush()

    def close(self, exit_code: int) -> None:
        """The run is over."""
        for name, tracker in list(self._open.items()):
            with self._guard(name):
                tracker.close(exit_code)
                self._tell(name, "closed", tracker.where, "")

    def _guard(self, name: str) -> _Guard:
        return _Guard(lambda error: self._drop(name, error))

    def _drop(self, name: str, error: BaseException) -> None:
        gone = self._open.pop(name, None)
        state = "missing" if isinstance(error, ModuleNotFoundError) else "failed"
        lines = str(error).strip().splitlines() or [type(error).__name__]
        self._tell(name, state, getattr(gone, "where", ""), lines[0])


def main() -> None:
    """Entry point."""
    told = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what libraries print is for the file of errors

    def tell(name: str, state: str, where: str, reason: str) -> None:
        message = {"name": name, "state": state, "where": where, "reason": reason[:500]}
        with contextlib.suppress(OSError):  # of a full volume the trackers may know nothing
            told.write(json.dumps(message) + "\n")
            told.flush()

    threading.Thread(target=_end_with_input, daemon=True).start()
    trackers = Trackers(tell)
    exit_code = 255  # of a run whose end was not heard of
    for line in sys.stdin.buffer:
        try:
            message = json.loads(line)
        except ValueError:
            break  # the server ended in the middle of a line
        if "open" in message:
            trackers.open(message["open"])
        elif "points" in message:
            trackers.add(message["points"])
        else:
            exit_code = message["close"]
            break
    _end_in_time()
    trackers.close(exit_code)


def _end_with_input() -> None:
    poll = select.poll()
    poll.register(0, 0)  # no event but the last, that nobody writes any more
    poll.poll()
    _end_in_time()


def _end_in_time() -> None:
    """CLOSE_SECONDS from the first call the signal ends this program, whatever it is at."""
    if not signal.getitimer(signal.ITIMER_REAL)[0]:
        signal.alarm(CLOSE_SECONDS)


if __name__ == "__main__":
    # modules of this folder must not hide those of the user's environment
    sys.path[:] = [path for path in sys.path if path != os.path.dirname(os.path.abspath(__file__))]
    main()
