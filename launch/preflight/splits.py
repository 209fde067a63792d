"""Splits: no row that is held out, or scored, is among the rows trained on."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from data_mix.bad_rows import place_of
from data_mix.overlap import ENOUGH, normal, question_of, texts_of
from launch.findings import Finding, bad, does_not_apply, ok, warn
from launch.preflight.subject import MANY, Subject

FEW = 0.01
"""Share of held-out rows up to which natural data repeats itself ("Thanks!")."""


def check(subject: Subject) -> list[Finding]:
    """One line a held-out set: validation, and scored rows of a source that is trained on too."""
    train, _ = subject.parts
    sets = list(held_out(subject))
    if not sets:
        return [does_not_apply("nothing is held out of, or scored from, what is trained on")]
    known = {key: part.spec.name for part in train for row in part.raw for key in keys(row)}
    seen = f"; of streamed sources the first {MANY:,} rows" if subject.streams else ""
    return [finding(name, rows, known, seen) for name, rows in sets]


def held_out(subject: Subject) -> Iterator[tuple[str, Sequence[Mapping[str, Any]]]]:
    """(name, rows) of what must not be trained on."""
    from eval_hooks.catalog import row_of
    from trainers.evaluation import source_rows

    train, validation = subject.parts
    sources = {part.spec.source for part in train}
    for part in validation:
        yield f"validation {part.spec.name}", part.raw
    for spec in (*subject.recipe.eval.target, *subject.recipe.eval.retain):
        if spec.rows is not None and spec.rows.source in sources and row_of(spec.task).unseen:
            yield f"task {spec.called}", source_rows(spec)[: spec.limit]


def keys(row: Mapping[str, Any]) -> list[str]:
    """What two equal rows share: all their words; or the question alone, where it is long enough to be one."""
    question = normal(question_of(row))
    alone = [f"? {question}"] if len(question.split()) >= ENOUGH else []
    return [normal("\n".join(texts_of(row))), *alone]


def finding(name: str, rows: Sequence[Mapping[str, Any]], known: Mapping[str, str], seen: str) -> Finding:
    """How many of the rows are trained on."""
    hits = [(row, known[key]) for row in rows for key in keys(row)[-1:] if key in known]
    if not hits:
        return ok(f"{name}: none of {len(rows):,} rows is trained on{seen}")
    first, source = hits[0]
    text = (
        f"{name}: {len(hits):,} of {len(rows):,} rows are trained on ({source}), the first is {place_of(first)}{seen}"
    )
    remedy = f"give {source} and {name.partition(' ')[2]} other splits or files, or take the rows out of {source}"
    return bad(text, remedy) if len(hits) > FEW * len(rows) else warn(text, remedy)
