"""A row's verifiers together: weighted rewards, and what happens when one of them breaks."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainers import TrainError
from trainers.rlvr.verdict import Row, Verdict, Verifier
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
    verdicts = {name: VERIFIERS[name].verify(row, completion) for name in weights(row)}
    first = next(iter(verdicts.values()))
    total = sum(weight * verdicts[name].reward for name, weight in weights(row).items())
    return Verdict(reward=total, ok=first.ok, reason=first.reason)


@dataclass
class Breakages:
    """How often verifiers broke; a broken judgement gives no reward and is no wrong answer."""

    judged: int = 0
    broken: int = 0
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    """The first ones: row, completion, error."""

    def reward(self, name: str, row: Row, completion: str) -> float | None:
        """One verifier's weighted reward; None where it broke.

        Raises RuntimeError where more than 5 % of the judgements broke.
        """
        self.judged += 1
        try:
            return weights(row)[name] * VERIFIERS[name].verify(row, completion).reward
        except Exception as error:  # whatever a verifier raises is its failure, not the model's
            self.broken += 1
            if len(self.rows) < ENOUGH:
                self.rows.append(
                    {"row": dict(row), "completion": completion, "error": f"{type(error).__name__}: {error}"}
                )
            if self.judged >= ENOUGH and self.broken > FAILURES_ALLOWED * self.judged:
                raise RuntimeError(
                    f"verifier {name} broke in {self.broken} of {self.judged} judgements (5 % are allowed), the last "
                    f"with {type(error).__name__}: {error} on {str(row.get('item_id') or row['prompt'])[:120]!r}"
                ) from error
            return None
