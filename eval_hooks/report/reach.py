"""What a run will be able to say of a task, in words: on the first screen and in `temper check`."""

from collections.abc import Mapping
from typing import Any

from eval_hooks.retention.reach import LIGHT


def reachable(name: str, entry: Mapping[str, Any]) -> str:
    """From which share of flips on `kept` cannot be said of a task any more.

    `entry` is a `retention.reach.Reach` as plain data.
    """
    looks = "an unknown number of evaluations" if entry["looks"] is None else plural(entry["looks"], "evaluation")
    over = f"over {looks}" + (f" of {entry['tasks']} tasks" if entry["tasks"] > 1 else "")
    what = f"{name}, {entry['n']:,} items: `kept` (at most {100 * entry['margin']:g} points lost)"
    said = f"{what} can be said {_of(entry['final'])} at the end, {over}"
    if entry["between"] is not None:
        said += f"; in between {_of(entry['between'])}"
    elif entry["looks"] is not None and entry["looks"] > 1:
        said += "; in between not at all"
    return said


def foretold(name: str, entry: Mapping[str, Any]) -> str:
    """The same, and what would change that where a light tuning would be out of reach."""
    said = reachable(name, entry)
    return said if enough(entry) else f"{said}. {remedies(entry)}"


def enough(entry: Mapping[str, Any]) -> bool:
    """Whether a light tuning that loses nothing can be called kept at the end."""
    return entry["final"] is not None and entry["final"] >= LIGHT


def remedies(entry: Mapping[str, Any]) -> str:
    """What makes `kept` reachable where 5 % of the items flip, as a light tuning does."""
    ways = [f"{entry['items']:,} items", f"a margin of {100 * entry['wide_enough']:.1f} points"]
    alone = entry["alone"] is not None and entry["alone"] >= LIGHT
    if alone:
        fewer = ["fewer evaluations (eval.every)"] if entry["looks"] != 1 else []
        ways += [*fewer, *(["fewer tasks to retain"] if entry["tasks"] > 1 else [])]
    return f"A light tuning flips {100 * LIGHT:.0f} %: for that it takes {' or '.join(ways)}"


def _of(share: float | None) -> str:
    return "of no model, not even an unchanged one," if share is None else f"where up to {100 * share:.1f} % flip"


def plural(count: int, word: str) -> str:
    """3 evaluations."""
    return f"{count} {word}{'' if count == 1 else 's'}"
