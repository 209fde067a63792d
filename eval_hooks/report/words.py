"""Numbers and verdicts in plain words; the screen, the page and the picture all say it with these."""

from collections.abc import Mapping
from typing import Any

E = Mapping[str, Any]


def percent(estimate: E | None) -> str:
    """62.1 % (58.0 to 66.0)."""
    if not estimate or estimate["value"] is None:
        return "not measured" + (f" ({estimate['reason']})" if estimate and estimate.get("reason") else "")
    interval = f" ({100 * estimate['low']:.1f} to {100 * estimate['high']:.1f})" if estimate["low"] is not None else ""
    return f"{100 * estimate['value']:.1f} %{interval}"


def number(estimate: E | None) -> str:
    """0.061 (0.045 to 0.102)."""
    if not estimate or estimate["value"] is None:
        return "not measured" + (f" ({estimate['reason']})" if estimate and estimate.get("reason") else "")
    return f"{estimate['value']:.3f}" + (
        f" ({estimate['low']:.3f} to {estimate['high']:.3f})" if estimate["low"] is not None else ""
    )


def points(estimate: E) -> str:
    """-0.4 points (-1.9 to +1.2)."""
    return f"{100 * estimate['value']:+.1f} points ({100 * estimate['low']:+.1f} to {100 * estimate['high']:+.1f})"


def kept(retention: Mapping[str, Any] | None) -> str:
    """The verdict on a task as a sentence."""
    if not retention:
        return "no base to compare with"
    delta, margin = retention["delta"], 100 * retention["margin"]
    if delta["value"] is None:
        return f"not measured ({delta['reason']})"
    low, high = 100 * delta["low"], 100 * delta["high"]
    return {
        "dropped": f"dropped: {-100 * delta['value']:.1f} points lost, the loss is real "
        f"({max(0.0, -high):.1f} to {-low:.1f})",
        "gained": f"gained: {100 * delta['value']:.1f} points, the gain is real ({low:.1f} to {high:.1f})",
        "kept": f"kept: at most {max(0.0, -low):.1f} points lost, {margin:.1f} are allowed",
        "undecided": f"undecided: between {low:+.1f} and {high:+.1f} points; up to {margin:.1f} lost would be allowed",
    }[retention["verdict"]]


def calibrated(before: E, after: E, rise: E | None) -> str:
    """What happened to ECE, without claiming more than the paired interval does."""
    if rise is None or rise["value"] is None:
        return f"ECE {number(after)}"
    change = "worse" if rise["low"] > 0 else "better" if rise["high"] < 0 else "no proven change"
    by = f"change {rise['value']:+.3f}, {rise['low']:+.3f} to {rise['high']:+.3f}"
    return f"ECE {before['value']:.3f} -> {after['value']:.3f}: {change} ({by})"
