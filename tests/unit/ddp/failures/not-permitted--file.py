"""A log that is written where a participant may not."""

open("/var/log/training.log", "a")  # noqa: SIM115
