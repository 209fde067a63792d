"""Amounts in words, and columns of them."""

from collections.abc import Sequence

GIB, MIB = 2**30, 2**20


def size(amount: float) -> str:
    """Bytes in words: 1.4 GiB, 820 MiB."""
    return f"{amount / GIB:.1f} GiB" if amount >= GIB else f"{amount / MIB:.0f} MiB"


def number(value: float) -> str:
    """Three digits at least of what is not zero."""
    return "0" if value == 0 else f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"


def duration(seconds: float) -> str:
    """45 ms, 3.2 s, 14 min, 5.3 h, 2.1 days."""
    for limit, unit, name in ((1, 1e-3, "ms"), (120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds / 86400:.3g} days"


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Lines with equal columns, the first `left` of them to the left; the first row is the heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
