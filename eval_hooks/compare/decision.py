"""Whether a comparison fails, for a program that reads an exit code: on its words, and on what could not be said.

A task of A's that is not compared fails it too: what nobody measured has not passed. Where a task is to fall
(unlearning, `goal: down`) to gain is what dropping is elsewhere.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eval_hooks.compare.pairs import Pair
from eval_hooks.compare.result import Comparison, letter
from eval_hooks.errors import EvalError
from eval_hooks.results.text import points

WORDS = ("dropped", "undecided", "gained")
"""That a comparison may fail on."""
OTHER_WAY = {"dropped": "gained", "gained": "dropped"}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was decided, and why."""

    fail_on: tuple[str, ...]
    reasons: tuple[str, ...]
    """One for each pair and each task that fails it."""

    def as_dict(self) -> dict[str, Any]:
        """The entry of compare.json."""
        return {"fail_on": list(self.fail_on), "failed": bool(self.reasons), "reasons": list(self.reasons)}


def words_of(text: str) -> tuple[str, ...]:
    """`dropped,undecided` as words. Raises EvalError for others, naming those there are."""
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    if wrong := [word for word in words if word not in WORDS]:
        said = ", ".join(repr(word) for word in wrong)
        raise EvalError(f"--fail-on {text}: no such word: {said}; there are: {', '.join(WORDS)}, joined by commas")
    return words


def decided(result: Comparison, fail_on: Sequence[str], tasks: Sequence[str] = ()) -> Decision:
    """What of a comparison fails on these words; `tasks` are those it was limited to."""
    return Decision(fail_on=tuple(fail_on), reasons=(*_said(result, fail_on), *_not_said(result, tasks)))


def _said(result: Comparison, fail_on: Sequence[str]) -> Iterator[str]:
    for pair in result.pairs:
        word = pair.entry["verdict"]
        if _meant(result, pair, word) in fail_on:
            together = f", over all {pair.pairs} comparisons" if pair.pairs > 1 else ""
            yield f"{pair.task}: {letter(pair.model)} {word} against A: {points(pair.together)}{together}"


def _meant(result: Comparison, pair: Pair, word: str) -> str:
    goal = result.models[pair.model].tasks()[pair.task].get("goal", "up")
    return word if goal == "up" else OTHER_WAY.get(word, word)


def _not_said(result: Comparison, tasks: Sequence[str]) -> Iterator[str]:
    for one in result.unpaired:
        yield f"{letter(one.model)} is not compared on {one.reason}"
    base = result.models[0]
    for name, entry in base.summary["tasks"].items():
        if entry["status"] != "ok" and (not tasks or name in tasks):
            yield f"{name}: not compared: {entry['status'].replace('_', ' ')} in A, {base.folder}"
