"""A token over the seam of prompt and answer: the model learns to go on from other tokens than a prompt ends with.

"Answer: " with "four" are read together as "Answer", ":", " four", and the prompt alone as "Answer", ":", " ".
"""

from collections.abc import Iterator, Mapping
from typing import Any

from data_mix.render import Rendering, encoding, rendered
from data_mix.spans import Part, Rendered
from launch.findings import Finding, does_not_apply, ok, warn
from launch.preflight.subject import Subject
from launch.preflight.truncation import LOOKED_AT


def check(subject: Subject) -> list[Finding]:
    """One finding a source of training rows, over its first ones."""
    from trainers.data import rendering

    how = rendering(subject.recipe)
    return [finding(part.spec.name, part.raw[:LOOKED_AT], subject.tokenizer, how) for part in subject.parts[0]]


def finding(name: str, rows: list[dict[str, Any]], tokenizer: Any, how: Rendering) -> Finding:
    """In how many rows there is one, and the first."""
    given = [(number, list(answered(row))) for number, row in enumerate(rows, 1)]
    if not any(texts for _, texts in given):
        return does_not_apply(f"{name}: no row has an answer after a prompt")
    hits = [(number, token) for number, texts in given if (token := first_over(texts, tokenizer, how))]
    if not hits:
        return ok(f"{name}: in none of {len(rows):,} rows does a token reach from the prompt into the answer")
    number, token = hits[0]
    text = f"{name}: in {len(hits):,} of {len(rows):,} rows a token reaches from the prompt into the answer: {token!r}"
    return warn(f"{text} in row {number}", "let the answer begin with the space or line break, not the prompt end so")


def answered(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The row where it has an answer in it; of a pair one for each answer."""
    shared = {key: value for key, value in row.items() if key not in ("chosen", "rejected")}
    if "chosen" in row:
        yield from ({**shared, "completion": row[side]} for side in ("chosen", "rejected"))
    elif "messages" in row or "completion" in row:
        yield row


def first_over(texts: list[Mapping[str, Any]], tokenizer: Any, how: Rendering) -> str | None:
    """The first token over a seam in these rows."""
    made = (one for text in texts for one in rendered(text, tokenizer, how)[1])
    return next((token for one in made if (token := over(one, tokenizer))), None)


def over(one: Rendered, tokenizer: Any) -> str | None:
    """The first token that begins before an answer and ends in it.

    Some tokenizers trim white space from offsets, so a token is taken to begin where the one before ended.
    """
    seams = {begin for begin, _, part in one.spans if part == Part.COMPLETION and begin}
    behind = 0
    for start, end in encoding(one, tokenizer)["offset_mapping"]:
        start = min(start, behind)
        if end > start and any(start < seam < end for seam in seams):
            return one.text[start:end]
        behind = max(end, behind)
    return None
