"""Contamination: the questions that are scored, looked for in the rows that are trained on.

Word for word, and but for case, punctuation and spaces; a long question also inside a text. What was reworded is not
found.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from data_mix.overlap import Finder, Match, Wanted, texts_of
from launch.findings import Finding, bad, does_not_apply, ok
from launch.preflight.subject import MANY, Subject

SHOWN = 3


def check(subject: Subject) -> list[Finding]:
    """One line a task whose items must be unseen."""
    wanted = list(scored(subject))
    if not wanted:
        return [does_not_apply("no task asks for what must be unseen")]
    train, _ = subject.parts
    rows = [(row.where, row) for part in train for row in part.raw]
    seen = f", of streamed sources the first {MANY:,}" if subject.streams else ""
    finder = Finder(one for _, items in wanted for one in items)
    hits = matches(finder, rows)
    return [finding(task, items, hits, f"{len(rows):,} rows{seen}") for task, items in wanted]


def scored(subject: Subject) -> Iterator[tuple[str, list[Wanted]]]:
    """(task, its items' questions)."""
    from eval_hooks.catalog import row_of
    from eval_hooks.wording import wordings

    for spec, items in subject.items:
        if row_of(spec.task).unseen:
            yield (
                spec.called,
                [
                    Wanted(name=f"{spec.called}:{one.item_id}", text=one.question, answer=one.answer)
                    for one in wordings(items)
                ],
            )


def matches(finder: Finder, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, tuple[str, Match]]:
    """Item -> (the first row it was found in, how)."""
    found: dict[str, tuple[str, Match]] = {}
    for where, row in rows:
        for match in finder.find(texts_of(row)):
            found.setdefault(match.wanted.name, (where, match))
    return found


def finding(task: str, items: Sequence[Wanted], hits: Mapping[str, tuple[str, Match]], looked: str) -> Finding:
    """How many items of a task were found, and where the first ones stand."""
    own = [(one.name.partition(":")[2], *hits[one.name]) for one in items if one.name in hits]
    if not own:
        return ok(f"{task}: none of {len(items):,} questions stands in {looked}")
    places = ", ".join(f"{item} in {where} ({match.how})" for item, where, match in own[:SHOWN])
    more = f" and {len(own) - SHOWN:,} more" if len(own) > SHOWN else ""
    return bad(
        f"{task}: {len(own):,} of {len(items):,} questions are trained on: {places}{more}", "take those rows out"
    )
