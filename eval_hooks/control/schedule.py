"""At which steps is measured, as `eval.every` says it."""


def between_ends(every: int | float | str | None, max_steps: int, epochs: float) -> int:
    """How many evaluations `every` makes between step 0 and the end."""
    if every == "epoch":
        return max(0, int(epochs) - 1)
    period = period_of(every, max_steps)
    return (max_steps - 1) // period if period else 0


def period_of(every: int | float | str | None, max_steps: int) -> int | None:
    """Steps between evaluations; None: only at the ends (or at epochs)."""
    if isinstance(every, float) and every <= 1.0:
        return max(1, round(every * max_steps))
    return int(every) if isinstance(every, int | float) else None
