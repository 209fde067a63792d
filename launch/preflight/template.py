"""The chat template's round trip: what somebody wrote comes back from the tokens, and an answer's end is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from data_mix.overlap import ANSWERS, texts_of
from data_mix.render import Dropped
from launch.findings import Finding, bad, does_not_apply, ok, warn
from launch.preflight.subject import Subject

LAST = 3
"""Last labels among which an answer's end must be; where everything is trained a template's line break follows it."""


@dataclass
class Seen:
    """What the first rows of a source show."""

    rows: int = 0
    lost: int = 0
    """Rows of which a text does not come back from the tokens."""
    unlabelled: int = 0
    """Rows whose last answer is not among the labels."""
    texts: int = 0
    ended: int = 0
    """Texts whose last labels stop generation."""
    example: str = ""


def check(subject: Subject) -> list[Finding]:
    """One finding a source, and one where system messages become a part of what a user said."""
    from trainers.models import stops

    ends = stops(subject.recipe.model, subject.tokenizer)
    found = [finding(name, look(subject, rows, ends), subject, ends) for name, rows in subject.sample.items()]
    return [*found, *folded(subject)]


def folded(subject: Subject) -> list[Finding]:
    """A warning where first rows have a system message and the template has no turn for it."""
    from trainers.template import folds_system

    rows = [row for sampled in subject.sample.values() for row in sampled]
    turns = [row.get("messages", row.get("prompt")) for row in rows]
    n = sum(isinstance(said, list) and any(turn["role"] == "system" for turn in said) for said in turns)
    if not n or not folds_system(subject.tokenizer):
        return []
    text = f"in {n} of {len(rows)} rows the system message begins the first user turn: the chat template has no other"
    return [warn(text, "send it so when the model is used, or give model.chat_template a template with system turns")]


def look(subject: Subject, rows: Sequence[Mapping[str, Any]], ends: set[int]) -> Seen:
    """The rows as they are rendered, uncut."""
    from trainers.data import rendering

    how, seen, tokenizer = replace(rendering(subject.recipe), max_length=None), Seen(), subject.tokenizer
    for raw in rows:
        made = [one for one in subject.encode(raw, how) if not isinstance(one, Dropped)]
        texts = [text for one in made for text in subject.form.labelled(one.columns(how))]
        if not texts:
            continue
        trained = [[token for token in labels if token != -100] for _, labels in texts]
        read = plain(" ".join(tokenizer.decode(ids) for ids, _ in texts))
        labelled = plain(" ".join(tokenizer.decode(ids) for ids in trained))
        missing = [text for text in texts_of(raw) if plain(text) not in read]
        seen.rows += 1
        seen.lost += bool(missing)
        seen.unlabelled += not all(plain(answer) in labelled for answer in answers_of(raw))
        seen.texts += len(texts)
        seen.ended += sum(bool(ends.intersection(ids[-LAST:])) for ids in trained)
        seen.example = seen.example or (missing[0][:60] if missing else "")
    return seen


def plain(text: str) -> str:
    """Without white space, which templates trim, and without thinking, which they drop from history."""
    return "".join(text.rpartition("</think>")[2].split())


def answers_of(raw: Mapping[str, Any]) -> list[str]:
    """What must be learned of a row: its last answer; of a pair both."""
    if "text" in raw:
        return [raw["text"]]
    if "messages" in raw:
        said = [m for m in raw["messages"] if m["role"] == "assistant" and m.get("train") is not False]
        return [said[-1].get("content") or ""] if said else []
    values = [raw[column] for column in ANSWERS if column in raw]
    return [value if isinstance(value, str) else value[-1].get("content") or "" for value in values]


def finding(name: str, seen: Seen, subject: Subject, ends: set[int]) -> Finding:
    """The worst of what was seen."""
    if not seen.rows:
        return does_not_apply(f"{name}: no row has an answer that is trained, the model writes them itself")
    words = " or ".join(repr(token) for token in subject.tokenizer.convert_ids_to_tokens(sorted(ends)))
    if seen.unlabelled:
        text = f"{name}: in {seen.unlabelled} of {seen.rows} rows the answer is not among the labels"
        return bad(text, "look at them: temper data; give model.chat_template a template with {% generation %} markers")
    if not seen.ended:
        text = f"{name}: no answer's last label is {words}, so the model would not learn to stop"
        return bad(text, "name the template's end of turn: model.eos_token")
    if seen.ended < seen.texts:
        text = f"{name}: {seen.texts - seen.ended} of {seen.texts} answers do not end with {words}"
        return warn(text, "look at them: temper data; end every answer alike")
    if seen.lost:
        text = f"{name}: in {seen.lost} of {seen.rows} rows a text does not come back from the tokens: {seen.example!r}"
        return warn(text, "the template or the tokenizer changes it: temper data shows what the model reads")
    return ok(f"{name}: {seen.rows} rows come back from their tokens; every answer's end, {words}, is trained")
