r"""Mathematical equality, by math-verify: 1/2 = 0.5 = \frac{1}{2}, sets, intervals, expressions.

The reply's announced answer is judged; one that announces none is judged by the one expression that its last line
states. What math-verify leaves out is compared before it: units, per cent, number bases; and numbers exactly, since it
rounds them to six decimals.
"""

import re
from fractions import Fraction
from typing import Any

from trainers.rlvr.expressions import Expression, answer_of, expression, parsed
from trainers.rlvr.extract import thinking_removed
from trainers.rlvr.verdict import Row, Verdict, golds, right, wrong

DIGITS = 6
"""Significant digits that a decimal number must have to stand for one that has no end, as 0.333333 for 1/3."""


def verify(row: Row, completion: str) -> Verdict:
    """Equal to `answer` as mathematics; never by looking for the gold answer somewhere in the text."""
    due = gold_of(row)
    said = answer_of(thinking_removed(completion))
    if said is None:
        return wrong("states no expression")
    found = expression(said)
    reasons = [_difference(gold, tree, found) for gold, tree in due]
    return right(f"{said[:60]!r} is it") if "" in reasons else wrong(reasons[0])


def warm_up() -> None:
    """Import math-verify and build its parser's tables: 0.6 s, where an ordinary answer takes a millisecond."""
    for gold, answer in ((r"\frac{\sqrt{3}}{2}", r"\frac{x^2+1}{\sin(y)}"), (r"\{1,2\}", r"[0,1)\cup(2,3]")):
        verify({"answer": gold}, rf"\boxed{{{answer}}}")


def gold_of(row: Row) -> list[tuple[Expression, Any]]:
    """What the gold answers say as mathematics. Raises ValueError where one says nothing."""
    found = []
    for gold in golds(row):
        taken = expression(gold)
        tree = parsed(taken.latex)
        if not tree:
            raise ValueError(f"the gold answer {gold!r} is no mathematics")
        found.append((taken, tree))
    return found


def _difference(gold: Expression, tree: Any, said: Expression) -> str:
    """Why they are not equal; empty where they are."""
    differ = f"{said.text[:60]!r} is not {gold.text!r}"
    if " ".join(said.text.split()).casefold() == " ".join(gold.text.split()).casefold():
        return ""
    if gold.base or said.base:
        return "" if _in_base(gold) == _in_base(said) is not None else differ
    if gold.ratio != said.ratio:
        return differ
    factor = Fraction(1)
    if gold.unit and (said.unit or said.percent):
        if said.unit is None or gold.unit.kind != said.unit.kind:
            return f"{differ}: another unit"
        factor = said.unit.factor / gold.unit.factor
    found = parsed(said.latex)
    if not found:
        return f"no mathematics in {said.text[:60]!r}"
    try:
        return "" if _equal(gold, tree, said, found, factor) else differ
    except (ArithmeticError, AttributeError, NotImplementedError, TypeError, ValueError) as error:
        return f"{differ}: {type(error).__name__} in working it out"  # 0/0 and the like: the reply's fault


def _in_base(one: Expression) -> int | None:
    try:
        return int(one.latex, one.base or 10)
    except ValueError:
        return None


def _equal(gold: Expression, tree: Any, said: Expression, found: Any, factor: Fraction) -> bool:
    from math_verify import verify as equal
    from sympy import Rational

    a, b = _number(tree[0]), _number(found[0])
    if a is None or b is None:
        return factor == 1 and gold.percent == said.percent and bool(equal(tree, found, timeout_seconds=None))
    b *= Rational(factor.numerator, factor.denominator)
    pairs = [(a, b)]
    if gold.percent != said.percent:  # 50 % is a half, and 50 where nobody writes the sign; 0.5 % is not a half
        part, plain = (a, b) if gold.percent else (b, a)
        pairs = [(part / 100, plain)] + ([(part, plain)] if abs(plain) >= 1 else [])
    return any(_same(x, y, gold.latex, said.latex) for x, y in pairs)


def _number(tree: Any) -> Any:
    """A real number, exactly as it is written; None for anything else."""
    from sympy import Expr, Float, Rational

    if not isinstance(tree, Expr) or tree.free_symbols or tree.is_real is not True:
        return None
    return tree.replace(lambda one: isinstance(one, Float), lambda one: Rational(str(one)))


def _same(a: Any, b: Any, *written: str) -> bool:
    """Equal numbers; or one without an end, and a decimal number that is it as far as it goes."""
    if a.is_Rational and b.is_Rational and _ends(a) == _ends(b):
        return bool(a == b)
    apart = abs((a - b).evalf(30))
    if not apart.is_finite:
        return False
    if a == b or apart < 1e-20 * abs(b.evalf(30)):
        return True
    decimals = [found[1] for text in written if (found := re.fullmatch(r"-?\d*\.(\d+)", text.strip()))]
    digits = [text for text in written if len(re.sub(r"\D", "", text).lstrip("0")) >= DIGITS]
    return bool(decimals and digits and apart <= 0.51 * 10.0 ** -len(decimals[0]))


def _ends(number: Any) -> bool:
    """Whether a rational number has an end as a decimal one."""
    below = int(number.q)
    for prime in (2, 5):
        while below % prime == 0:
            below //= prime
    return below == 1
