"""The shapes of query: each fills itself from a table, as a sqlglot expression, or says that it cannot.

Names and shapes follow the SQUALL-style templates that symbolic tuning draws on (Liu et al. 2023, arXiv:2304.07995).
"""

from collections.abc import Callable
from random import Random

from sqlglot import exp, select

from data_mix.sources.sql.execute import TABLE
from data_mix.sources.sql.tables import Cell, Table

Skeleton = Callable[[Table, Random], exp.Select | None]


def _col(name: str) -> exp.Column:
    return exp.column(name, quoted=not name.isidentifier())


def _value(value: Cell) -> exp.Expr:
    return exp.convert(value)


def _pick(names: list[str], rng: Random, without: str | None = None) -> str | None:
    rest = [name for name in names if name != without]
    return rng.choice(rest) if rest else None


def _condition(table: Table, column: str, rng: Random) -> exp.Expr:
    """Column = value, or < and > for numbers, with a value from the table."""
    value = rng.choice(table.values(column))
    if column in table.of_kind("int", "real") and rng.random() < 0.6:
        return (exp.GT if rng.random() < 0.5 else exp.LT)(this=_col(column), expression=_value(value))
    return exp.EQ(this=_col(column), expression=_value(value))


def select_where(table: Table, rng: Random) -> exp.Select | None:
    """SELECT c FROM t WHERE key = v, with the key a text column."""
    key = _pick(table.of_kind("text"), rng)
    column = _pick(list(table.columns), rng, without=key)
    if key is None or column is None:
        return None
    return (
        select(_col(column))
        .from_(TABLE)
        .where(exp.EQ(this=_col(key), expression=_value(rng.choice(table.values(key)))))
    )


def select_compare(table: Table, rng: Random) -> exp.Select | None:
    """SELECT c FROM t WHERE number < or > v."""
    key = _pick(table.of_kind("int", "real"), rng)
    column = _pick(list(table.columns), rng, without=key)
    if key is None or column is None:
        return None
    comparison = exp.GT if rng.random() < 0.5 else exp.LT
    return (
        select(_col(column))
        .from_(TABLE)
        .where(comparison(this=_col(key), expression=_value(rng.choice(table.values(key)))))
    )


def _two(table: Table, rng: Random, join: Callable[..., exp.Condition]) -> exp.Select | None:
    first, second = (rng.choice(table.columns) for _ in range(2))
    column = _pick(list(table.columns), rng)
    if first == second or column is None:
        return None
    return select(_col(column)).from_(TABLE).where(join(_condition(table, first, rng), _condition(table, second, rng)))


def where_and(table: Table, rng: Random) -> exp.Select | None:
    """SELECT c FROM t WHERE a AND b."""
    return _two(table, rng, exp.and_)


def where_or(table: Table, rng: Random) -> exp.Select | None:
    """SELECT c FROM t WHERE a OR b."""
    return _two(table, rng, exp.or_)


def order_limit(table: Table, rng: Random) -> exp.Select | None:
    """SELECT c FROM t ORDER BY number LIMIT 1; refused where the first place is shared."""
    key = _pick(table.of_kind("int", "real", "date"), rng)
    column = _pick(list(table.columns), rng, without=key)
    if key is None or column is None:
        return None
    descending = rng.random() < 0.5
    values = table.values(key)
    best = max(values) if descending else min(values)
    if values.count(best) > 1:
        return None
    return select(_col(column)).from_(TABLE).order_by(exp.Ordered(this=_col(key), desc=descending)).limit(1)


def count(table: Table, rng: Random) -> exp.Select | None:
    """SELECT COUNT(*) FROM t WHERE condition."""
    return select(exp.Count(this=exp.Star())).from_(TABLE).where(_condition(table, rng.choice(table.columns), rng))


def _aggregate(kind: type[exp.AggFunc]) -> Skeleton:
    def fill(table: Table, rng: Random) -> exp.Select | None:
        column = _pick(table.of_kind("int", "real"), rng)
        return select(kind(this=_col(column))).from_(TABLE) if column else None

    return fill


def group_having(table: Table, rng: Random) -> exp.Select | None:
    """SELECT c FROM t GROUP BY c HAVING COUNT(*) > n."""
    column = _pick(
        [name for name in table.of_kind("text", "int") if len(set(table.values(name))) < len(table.rows)], rng
    )
    if column is None:
        return None
    having = exp.GT(this=exp.Count(this=exp.Star()), expression=exp.convert(1))
    return select(_col(column)).from_(TABLE).group_by(_col(column)).having(having)


def difference(table: Table, rng: Random) -> exp.Select | None:
    """SELECT (SELECT n FROM t WHERE key = a) - (SELECT n FROM t WHERE key = b)."""
    number = _pick(table.of_kind("int"), rng)
    key = _pick([name for name in table.of_kind("text") if len(set(table.values(name))) == len(table.rows)], rng)
    if number is None or key is None or len(table.rows) < 2:
        return None
    sides = [
        select(_col(number)).from_(TABLE).where(exp.EQ(this=_col(key), expression=_value(v))).subquery()
        for v in rng.sample(table.values(key), 2)
    ]
    return select(exp.Sub(this=sides[0], expression=sides[1]))


def nested_extreme(table: Table, rng: Random) -> exp.Select | None:
    """SELECT c FROM t WHERE n = (SELECT MAX(n) FROM t), or MIN."""
    number = _pick(table.of_kind("int", "real"), rng)
    column = _pick(list(table.columns), rng, without=number)
    if number is None or column is None:
        return None
    extreme = (exp.Max if rng.random() < 0.5 else exp.Min)(this=_col(number))
    return (
        select(_col(column))
        .from_(TABLE)
        .where(exp.EQ(this=_col(number), expression=select(extreme).from_(TABLE).subquery()))
    )


SKELETONS: dict[str, Skeleton] = {
    "select_where": select_where,
    "select_compare": select_compare,
    "where_and": where_and,
    "where_or": where_or,
    "order_limit": order_limit,
    "count": count,
    "sum": _aggregate(exp.Sum),
    "avg": _aggregate(exp.Avg),
    "min": _aggregate(exp.Min),
    "max": _aggregate(exp.Max),
    "group_having": group_having,
    "difference": difference,
    "nested_extreme": nested_extreme,
}
EASY = ("select_where", "count", "max", "min")
"""What a very small model can learn in a few minutes."""
HELD_OUT = {
    "validation": ("order_limit", "where_or", "sum"),
    "test": ("nested_extreme", "group_having", "select_compare"),
}
"""With holdout table_and_skeleton: these belong to that split alone, the others to train."""
