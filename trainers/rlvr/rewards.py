"""Verifiers at work: rows checked before training, answers rewarded, and what happens when a verifier breaks."""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_mix.bad_rows import place_of
from eval_hooks.bounded import Outcome, run_bounded
from eval_hooks.json_text import json_text
from eval_hooks.masking import masked
from eval_hooks.storage.inside import append
from trainers import TrainError, announce
from trainers.rlvr.apart import check_call, verify_call
from trainers.rlvr.judge import combined, weights
from trainers.rlvr.verdict import Row, Verdict, wrong

FAILURES_ALLOWED = 0.05
"""Share of a verifier's last judgements that may break before the run stops (Ma et al. 2025, arXiv:2505.14652)."""
LAST = 200
"""Judgements of one verifier that the share is of; of fewer, from the first one on, it is of those there are."""
ENOUGH = 3
"""Broken ones among them before that share means anything."""
KEPT = 100
"""Broken or killed judgements that are written down, per rank."""
SHOWN = 5
"""Unusable rows that a message names."""
LONGEST = 1_000_000
"""Characters of an answer that are judged at all; a context of 128k tokens is about half of it."""


def unusable(rows: Sequence[Row]) -> dict[int, str]:
    """Rows that no answer can be judged by, by index, and why: a verifier, gold answer or pattern that cannot be.

    All of them are looked at, in the bounds of a judgement.
    """
    found: dict[int, str] = {}
    named: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        try:
            for name in weights(row):
                named.setdefault(name, []).append(i)
        except TrainError as error:
            found[i] = str(error)
    for name, members in named.items():
        for i, outcome in zip(members, run_bounded(check_call(name), [(rows[i],) for i in members]), strict=True):
            text = outcome.value or outcome.error or (f"checking it {outcome.killed}" if outcome.killed else "")
            if text:
                found.setdefault(i, f"verifier {name}: {text}")
    return dict(sorted(found.items()))


def check_rows(rows: Sequence[Row], where: str) -> None:
    """Raise TrainError for all rows that no answer can be judged by."""
    if found := unusable(rows):
        places = {i: place_of(rows[i]) or f"row {i + 1} of the mix" for i in found}
        lines = [f"{where}: {places[i]} ({_called(rows[i])}): {text}" for i, text in found.items()]
        more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        raise TrainError("\n".join([*lines[:SHOWN], *more, "mend these rows, or leave them out"]))


@dataclass
class Court:
    """Verifiers at work on a batch of answers: rewards, how often they broke, what was paid for a wrong answer.

    A judgement that had to be killed, for its time or memory, is a wrong answer: what a model writes must not end the
    run. Unless the same row's judgement of an empty answer is killed as well; then the row or the verifier is at fault,
    and has broken.
    """

    file: Path | None = None
    """Where broken and killed judgements are kept, a line each: row, completion, error."""
    judged: int = 0
    broken: int = 0
    killed: int = 0
    _found: dict[str, list[Verdict | None]] = field(default_factory=dict)
    _last: dict[str, deque[bool]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=LAST)))
    """Verifier -> which of its last judgements broke."""
    _control: dict[tuple[str, str], bool] = field(default_factory=dict)

    def rewards(self, name: str, rows: Sequence[Row], completions: Sequence[str]) -> list[float | None]:
        """One verifier's weighted rewards; None where a row does not name it, or where it broke.

        Raises RuntimeError where more than 5 % of its last 200 judgements broke, at least three of them.
        """
        asked = [i for i, row in enumerate(rows) if name in weights(row)]
        verdicts: list[Verdict | None] = [None] * len(rows)
        short = [i for i in asked if len(completions[i]) <= LONGEST]
        outcomes = dict(zip(short, _outcomes(name, [(rows[i], completions[i]) for i in short]), strict=True))
        for i in asked:
            verdicts[i] = self._verdict(name, rows[i], completions[i], outcomes.get(i))
        self._found[name] = verdicts
        return [weights(row)[name] * v.reward if v else None for row, v in zip(rows, verdicts, strict=True)]

    def figures(self, rows: Sequence[Row]) -> dict[str, float]:
        """Of a batch that all verifiers have seen: shares broken and killed (so far), and right; reward of wrong ones.

        `form_only` is a mean over all answers: what is paid without the answer being right, for its form, say.
        """
        given = [combined(row, {name: self._found[name][i] for name in weights(row)}) for i, row in enumerate(rows)]
        return {
            "broken": self.broken / max(1, self.judged),
            "killed": self.killed / max(1, self.judged),
            "right": sum(verdict.ok for verdict in given) / len(given),
            "form_only": sum(verdict.reward for verdict in given if not verdict.ok) / len(given),
        }

    def _verdict(self, name: str, row: Row, completion: str, outcome: Outcome | None) -> Verdict | None:
        self.judged += 1
        self._last[name].append(False)
        if outcome is None:
            return wrong(f"longer than {LONGEST:,} characters")
        if outcome.killed and not self._at_fault(name, row):
            self.killed += 1
            if self.killed == 1:
                announce(f"warning   verifier {name}: judging an answer {outcome.killed}; it counts as wrong")
            self._keep(row, completion, f"judging it {outcome.killed}")
            return wrong(f"judging it {outcome.killed}")
        if outcome.killed or outcome.error:
            self._broke(name, row, completion, outcome.error or f"judging even an empty answer {outcome.killed}")
            return None
        reward, ok, reason = outcome.value
        return Verdict(reward=reward, ok=ok, reason=reason)

    def _at_fault(self, name: str, row: Row) -> bool:
        """Whether the row's judgement is killed whatever the answer says."""
        key = (name, json_text(row, sort_keys=True, default=str))
        if key not in self._control:
            self._control[key] = bool(_outcomes(name, [(row, "")])[0].killed)
        return self._control[key]

    def _broke(self, name: str, row: Row, completion: str, error: str) -> None:
        self.broken += 1
        self._keep(row, completion, error)
        last = self._last[name]
        last[-1] = True
        if (broken := sum(last)) >= ENOUGH and broken > FAILURES_ALLOWED * len(last):
            raise RuntimeError(
                f"verifier {name} broke in {broken} of its last {len(last)} judgements (5 % are allowed), the last "
                f"with {error} on {_called(row)}" + (f"; the rows are in {self.file}" if self.file else "")
            )

    def _keep(self, row: Row, completion: str, error: str) -> None:
        if self.file is not None and self.broken + self.killed <= KEPT:
            line = json_text(masked({"row": dict(row), "completion": completion, "error": error}), ensure_ascii=False)
            append(self.file, f"{line}\n".encode("utf-8", "backslashreplace"), self.file.parent)


def _outcomes(name: str, items: Sequence[tuple[Row, str]]) -> list[Outcome]:
    return run_bounded(verify_call(name), items)


def _called(row: Mapping[str, Any]) -> str:
    """A row by its name, or else by its question."""
    prompt = row.get("prompt")
    asked = prompt[-1].get("content") if isinstance(prompt, list) and prompt else prompt
    return repr(str(row.get("item_id") or asked)[:120])
