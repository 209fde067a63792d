"""Estimates in words: shares in percent and points, other scores in their own unit."""

from collections.abc import Mapping
from typing import Any

E = Mapping[str, Any]
"""An estimate as a summary holds it."""


def _missing(estimate: E | None) -> str:
    return "not measured" + (f" ({estimate['reason']})" if estimate and estimate.get("reason") else "")


def percent(estimate: E | None) -> str:
    """62.1 % (58.0 to 66.0)."""
    if not estimate or estimate["value"] is None:
        return _missing(estimate)
    interval = f" ({100 * estimate['low']:.1f} to {100 * estimate['high']:.1f})" if estimate["low"] is not None else ""
    return f"{100 * estimate['value']:.1f} %{interval}"


def number(estimate: E | None) -> str:
    """0.061 (0.045 to 0.102)."""
    if not estimate or estimate["value"] is None:
        return _missing(estimate)
    return f"{estimate['value']:.3f}" + (
        f" ({estimate['low']:.3f} to {estimate['high']:.3f})" if estimate["low"] is not None else ""
    )


def value(estimate: E) -> str:
    """0.83, without its interval."""
    return "not measured" if estimate["value"] is None else f"{estimate['value']:.2f}"


def signed(estimate: E) -> str:
    """+0.42 (+0.31 to +0.55)."""
    return f"{estimate['value']:+.2f}" + (
        f" ({estimate['low']:+.2f} to {estimate['high']:+.2f})" if estimate["low"] is not None else ""
    )


def entry_number(task: E) -> str:
    """Its accuracy in percent; 2.310 (2.101 to 2.518) nats a word where nothing is right or wrong."""
    score = task.get("score")
    return percent(task.get("accuracy")) if not score else f"{number(score)} {task['unit']}"


def of_unit(retention: E, estimate: E) -> E:
    """An estimate of a change, which then says its unit where that is not points."""
    return {**estimate, "unit": retention["unit"]} if retention.get("unit") else estimate


def _form(estimate: E) -> tuple[float, str, str]:
    unit = estimate.get("unit")
    return (1.0, ".3f", f" {unit}") if unit else (100.0, ".1f", " points")


def said_in_unit(amount: float, estimate: E, sign: str = "") -> str:
    """An amount of an estimate's unit, without its name."""
    scale, digits, _ = _form(estimate)
    return format(scale * amount, f"{sign}{digits}")


def ends(estimate: E) -> str:
    """-15.0 to -9.0, in points or the estimate's unit."""
    if estimate["low"] is None:
        return "no interval"
    return f"{said_in_unit(estimate['low'], estimate, '+')} to {said_in_unit(estimate['high'], estimate, '+')}"


def points(estimate: E) -> str:
    """-0.4 points (-1.9 to +1.2)."""
    if estimate["value"] is None:
        return _missing(estimate)
    return f"{said_in_unit(estimate['value'], estimate, '+')}{_form(estimate)[2]} ({ends(estimate)})"


def plotted(estimate: E) -> tuple[float, float, float]:
    """Value, low and high for a picture, in points or the estimate's unit; without an interval the value thrice."""
    scale, _, _ = _form(estimate)
    middle = scale * estimate["value"]
    ends_ = [middle if estimate[end] is None else scale * estimate[end] for end in ("low", "high")]
    return middle, ends_[0], ends_[1]


def detectable(retention: E) -> str:
    """What change could have been seen, as the end of a sentence; empty where that is not known."""
    least = retention.get("minimum_detectable")
    if least is None:
        return ""
    return f"; a change of {100 * least:.1f} points could be seen" if least < 1 else "; no change could be seen"
