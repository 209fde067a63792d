"""Held-out preference pairs: how likely either answer is (`preference`)."""

from typing import TYPE_CHECKING, Any

from eval_hooks.preference import summarise_pairs
from eval_hooks.results.schemas import PAIRS
from eval_hooks.results.text import number, percent, signed
from eval_hooks.tasks.kinds.kind import Beside, Entry, Kind, nothing

if TYPE_CHECKING:
    import pyarrow as pa


def summarise(table: "pa.Table", beside: Beside) -> dict[str, Any]:
    """Accuracy and margin against step 0."""
    return summarise_pairs(table, beside.baseline)


def held_out(name: str, before: Entry, after: Entry) -> tuple[str, str]:
    """Which answer is preferred, and what became of either."""
    if after["margin"]["value"] is None:
        return "Held-out pairs", f"{name}: one evaluation only"
    return "Held-out pairs", (
        f"{name}: right answer preferred in {percent(after['accuracy'])} of {after['n']}, margin "
        f"{number(after['margin'])} nats; chosen {signed(after['chosen_change'])}, rejected "
        f"{signed(after['rejected_change'])}; right one the likelier {percent(before['likelier'])} -> "
        f"{percent(after['likelier'])}; KL from step 0 {number(after['kl'])} nats an answer; its answers "
        f"{before['length']['value']:.1f} -> {after['length']['value']:.1f} tokens long"
    )


KIND = Kind(schema=PAIRS, summarise=summarise, numbers=nothing, held_out=held_out)
