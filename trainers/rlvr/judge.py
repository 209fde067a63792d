"""The table of verifiers, and those of a row together: one verdict, weighted."""

from collections.abc import Mapping

from trainers import TrainError
from trainers.rlvr.verdict import Row, Verdict, Verifier, wrong
from trainers.rlvr.verifiers import choice, exact, format, math, number, sql

VERIFIERS: dict[str, Verifier] = {
    "math": Verifier(
        verify=math.verify, check=math.gold_of, about="mathematical equality, by math-verify", warm_up=math.warm_up
    ),
    "number": Verifier(verify=number.verify, check=number.gold_of, about="the number that the answer states"),
    "choice": Verifier(verify=choice.verify, check=choice.gold_of, about="one option, by its letter or its words"),
    "exact": Verifier(verify=exact.verify, check=exact.gold_of, about="nothing but the answer"),
    "format": Verifier(
        verify=format.verify, check=format.pattern_of, about="the form of the reply, by tags or by a regular expression"
    ),
    "sql": Verifier(verify=sql.verify, check=sql.gold_of, about="the result of a query, cell by cell"),
}
"""Name -> verifier."""


def weights(row: Row) -> dict[str, float]:
    """Verifier -> weight of a row: `number`, or {number: 0.5, exact: 0.5}.

    Raises TrainError for none, for one that does not exist, and for weights that are not above 0.
    """
    given = row.get("verifier")
    if not given:
        raise TrainError("names no verifier; write one in the row, or for all rows of the source as verifier: NAME")
    if not isinstance(given, str | Mapping):
        raise TrainError(f"verifier {repr(given)[:80]}: no name; write a verifier's, or a map of names and weights")
    named = {given: 1.0} if isinstance(given, str) else dict(given)
    for name, weight in named.items():
        if name not in VERIFIERS:
            raise TrainError(f"verifier {name!r}: no such verifier; there is: {', '.join(VERIFIERS)}")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < float("inf"):
            raise TrainError(f"verifier {name}: its weight must be a number above 0, got {weight!r}")
    return named


def judge(row: Row, completion: str) -> Verdict:
    """The weighted sum of a row's verifiers; right where the first named one says so. Raises what a verifier raises."""
    return combined(row, {name: VERIFIERS[name].verify(row, completion) for name in weights(row)})


def combined(row: Row, verdicts: Mapping[str, Verdict | None]) -> Verdict:
    """One verdict of a row's verifiers; None is one that broke: no reward, and not right."""
    named = weights(row)
    first = verdicts[next(iter(named))] or wrong("its verifier broke")
    total = sum(weight * verdict.reward for name, weight in named.items() if (verdict := verdicts[name]))
    return Verdict(reward=total, ok=first.ok, reason=first.reason)
