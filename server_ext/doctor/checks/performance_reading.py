"""What a measurement says of a GPU: its figures, and what they should be. Pure.

Guarantees: whatever the probe told gives positive numbers or None; a figure has something that it
should be only where its model is known, and is below the mark only on a GPU that nobody else used
or may use meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..facts import Facts, integer_of, text_of
from ..performance import table
from . import reading

LINK_COPIES = ("copy-h2d-pinned", "copy-d2h-pinned")


def devices(facts: Facts) -> tuple[Mapping[str, object], ...]:
    """The GPUs that were measured."""
    return facts.objects("performance", "devices")


def figures_of(device: Mapping[str, object]) -> dict[str, float]:
    """Figure -> value, of those that are positive numbers."""
    found = device.get("figures")
    return {
        text_of(item, "name"): value
        for item in (found if isinstance(found, list) else ())
        if isinstance(item, Mapping) and (value := number_of(item, "value")) is not None
    }


def number_of(item: Mapping[str, object], *path: str) -> float | None:
    """A number above 0 of an object, or None."""
    value: object = item
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 < value < 1e30 else None


def expected(device: Mapping[str, object], figure: str) -> float | None:
    """What this figure of a device should be, or None."""
    if figure in LINK_COPIES:
        link = device.get("link")
        if table.is_mig(text_of(device, "name")) or not isinstance(link, Mapping):
            return None  # parts of a card share its link
        return table.expected_of_link(
            integer_of(link, "max_generation"), integer_of(link, "max_width")
        )
    return table.expected(text_of(device, "name"), figure)


def is_busy(device: Mapping[str, object]) -> bool:
    """Whether someone else used it, so that its figures say little."""
    return device.get("light") is True


def label(device: Mapping[str, object]) -> str:
    """A device's name with its number, for people."""
    name = reading.shorten(text_of(device, "name") or "GPU", 80)
    return f"{name} (cuda:{integer_of(device, 'index') or 0})"


def below_the_mark(
    device: Mapping[str, object], names: tuple[str, ...]
) -> tuple[int, tuple[str, ...]]:
    """The lowest share, in %, of what is below the mark; and a line for each such figure."""
    shares, lines = [], []
    # on a GPU that is shared others may begin at any moment
    if is_busy(device) or device.get("shared") is True:
        return 100, ()
    for name, value in figures_of(device).items():
        should = expected(device, name) if name in names else None
        if should and value < should * table.JUDGED_BELOW:
            shares.append(value / should)
            lines.append(
                f"{label(device)}: {name}: {amount(name, value)}, expected {amount(name, should)}"
            )
    return (max(1, round(min(shares) * 100)), tuple(lines)) if shares else (100, ())


def amount(figure: str, value: float) -> str:
    """A figure with its unit."""
    if "matmul" in figure:
        return f"{value / 1e12:.1f} TFLOPS" if value >= 1e12 else f"{value / 1e9:.1f} GFLOPS"
    return f"{value / 1e9:.1f} GB/s"
