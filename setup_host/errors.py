"""The one exception that people are meant to read: what happened, and what to do about it."""

from __future__ import annotations


class SetupError(Exception):
    """A step cannot go on.

    `problem` says what happened, `remedy` what to do; `detail` is evidence (the end of a log).
    """

    def __init__(self, problem: str, remedy: str, detail: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy
        self.detail = detail

    def __str__(self) -> str:
        parts = [self.problem]
        if self.detail:
            parts.append("\n".join(f"    {line}" for line in self.detail.splitlines()))
        parts.append(f"What to do: {self.remedy}")
        return "\n".join(parts)
