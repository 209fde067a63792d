"""A row's verifiers together: weighted rewards, and what happens when one of them breaks."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval_hooks.masking import masked
from trainers import TrainError
from trainers.rlvr.verdict import Row, Verdict, Verifier, wrong
from trainers.rlvr.verifiers import choice, exact, format, math, number, sql

VERIFIERS: dict[str, Verifier] = {
    "math": Verifier(verify=math.verify, about="mathematical equality, by math-verify"),
    "number": Verifier(verify=number.verify, about="the last number of the answer"),
    "choice": Verifier(verify=choice.verify, about="one option, by its letter or its words"),
    "exact": Verifier(verify=exact.verify, about="nothing but the answer"),
    "format": Verifier(verify=format.verify, about="the form of the reply, by tags or by a regular expression"),
    "sql": Verifier(verify=sql.verify, about="the result of a query, cell by cell"),
}
"""Name -> verifier."""
FAILURES_ALLOWED = 0.05
"""Share of judgements in which a verifier may break before the run stops (card 26)."""
ENOUGH = 20
"""Judgements before that share means anything."""
KEPT = 100
"""Broken judgements that are written down, per rank."""


def weights(row: Row) -> dict[str, float]:
    """Verifier -> weight of a row: `number`, or {number: 0.5, exact: 0.5}.

    Raises TrainError for a verifier that does not exist, and for weights that are not above 0.
    """
    given = row["verifier"]
    named = {given: 1.0} if isinstance(given, str) else dict(given)
    for name, weight in named.items():
        if name not in VERIFIERS:
            raise TrainError(f"verifier {name!r}: no such verifier; there is: {', '.join(VERIFIERS)}")
        if not weight > 0:
            raise TrainError(f"verifier {name}: its weight must be above 0, got {weight}")
    return named


def check_rows(rows: Any) -> None:
    """Raise TrainError for the first row whose verifiers cannot be."""
    for row in rows:
        weights(json.loads(row["row"]))


def judge(row: Row, completion: str) -> Verdict:
    """The weighted sum of a row's verifiers; right where the first named one says so. Raises what a verifier raises."""
    return combined(row, {name: VERIFIERS[name].verify(row, completion) for name in weights(row)})


def combined(row: Row, verdicts: Mapping[str, Verdict | None]) -> Verdict:
    """One verdict of a row's verifiers; None is one that broke: no reward, and not right."""
    named = weights(row)
    first = verdicts[next(iter(named))] or wrong("its verifier broke")
    total = sum(weight * verdict.reward for name, weight in named.items() if (verdict := verdicts[name]))
    return Verdict(reward=total, ok=first.ok, reason=first.reason)


@dataclass
class Court:
    """Verifiers at work on a batch of answers: rewards, how often they broke, what was paid for a wrong answer."""

    file: Path | None = None
    """Where broken judgements are kept, a line each: row, completion, error."""
    judged: int = 0
    broken: int = 0
    _found: dict[str, list[Verdict | None]] = field(default_factory=dict)

    def rewards(self, name: str, rows: Sequence[Row], completions: Sequence[str]) -> list[float | None]:
        """One verifier's weighted rewards; None where a row does not name it, or where it broke.

        Raises RuntimeError where more than 5 % of all judgements broke.
        """
        verdicts = [
            self._verdict(name, row, completion) if name in weights(row) else None
            for row, completion in zip(rows, completions, strict=True)
        ]
        self._found[name] = verdicts
        return [weights(row)[name] * v.reward if v else None for row, v in zip(rows, verdicts, strict=True)]

    def figures(self, rows: Sequence[Row]) -> dict[str, float]:
        """Of a batch that all verifiers have seen: share broken (so far), share right, and the reward of wrong answers.

        `form_only` is a mean over all answers: what is paid without the answer being right, for its form, say.
        """
        given = [combined(row, {name: self._found[name][i] for name in weights(row)}) for i, row in enumerate(rows)]
        return {
            "broken": self.broken / max(1, self.judged),
            "right": sum(verdict.ok for verdict in given) / len(given),
            "form_only": sum(verdict.reward for verdict in given if not verdict.ok) / len(given),
        }

    def _verdict(self, name: str, row: Row, completion: str) -> Verdict | None:
        self.judged += 1
        try:
            return VERIFIERS[name].verify(row, completion)
        except Exception as error:  # whatever a verifier raises is its failure, not the model's
            self.broken += 1
            self._keep(row, completion, error)
            if self.judged >= ENOUGH and self.broken > FAILURES_ALLOWED * self.judged:
                raise RuntimeError(
                    f"verifier {name} broke in {self.broken} of {self.judged} judgements (5 % are allowed), the last "
                    f"with {type(error).__name__}: {error} on {str(row.get('item_id') or row['prompt'])[:120]!r}"
                    + (f"; the rows are in {self.file}" if self.file else "")
                ) from error
            return None

    def _keep(self, row: Row, completion: str, error: Exception) -> None:
        if self.file is not None and self.broken <= KEPT:
            line = {"row": dict(row), "completion": completion, "error": f"{type(error).__name__}: {error}"}
            with self.file.open("a", encoding="utf-8") as out:
                out.write(json.dumps(masked(line), ensure_ascii=False) + "\n")
