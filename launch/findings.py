"""What a look at something found: the lines of `temper doctor` and `temper check`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from eval_hooks.masking import masked_message


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the table."""

    name: str = ""
    """What was looked at; a check leaves it to the table that names the check."""
    state: Literal["ok", "warn", "bad"]
    """warn: works, with less; bad: training cannot work, or should not be paid for."""
    found: str
    remedy: str = ""


def ok(found: str) -> Finding:
    """Nothing to do."""
    return Finding(state="ok", found=found)


def warn(found: str, remedy: str) -> Finding:
    """It works, and somebody should know."""
    return Finding(state="warn", found=found, remedy=remedy)


def bad(found: str, remedy: str = "") -> Finding:
    """It does not work."""
    return Finding(state="bad", found=found, remedy=remedy)


def does_not_apply(reason: str) -> Finding:
    """There is nothing to look at."""
    return ok(f"does not apply: {reason}")


def any_bad(findings: Sequence[Finding]) -> bool:
    """Whether the answer is no."""
    return any(finding.state == "bad" for finding in findings)


def print_findings(findings: Sequence[Finding]) -> None:
    """The table, on standard output."""
    from rich.markup import escape
    from rich.table import Table

    from eval_hooks.visible import terminal

    table = Table(box=None, pad_edge=False)
    for heading in ("", "what", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        colour = {"ok": "green", "warn": "yellow", "bad": "red"}[finding.state]
        table.add_row(
            f"[{colour}]{finding.state}[/]",
            escape(finding.name),
            escape(masked_message(finding.found)),
            escape(finding.remedy),
        )
    terminal().print(table)
