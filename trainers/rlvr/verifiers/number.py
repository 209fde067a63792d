"""The last number of the announced answer, or else of the reply; thousands commas, signs and decimals are read.

A gold answer may end in `#### 42`, as GSM8K's do (Cobbe et al. 2021, arXiv:2110.14168).
"""

import re
from decimal import Decimal

from trainers.rlvr.extract import TAIL, final_answer, thinking_removed
from trainers.rlvr.verdict import Row, Verdict, right, wrong

NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w])")


def verify(row: Row, completion: str) -> Verdict:
    """The same number as the gold answer's."""
    gold = gold_of(row)
    text = thinking_removed(completion)
    said = last_number(final_answer(text) or text)
    if said is None:
        return wrong("no number")
    return right() if said == gold else wrong(f"{said:.40g} is not {gold:.40g}")


def gold_of(row: Row) -> Decimal:
    """The number that `answer` ends in. Raises ValueError where it holds none."""
    gold = last_number(row["answer"].rpartition("####")[2])
    if gold is None:
        raise ValueError(f"the gold answer {row['answer']!r} holds no number")
    return gold


def last_number(text: str) -> Decimal | None:
    """The last number in a text's end; a long row of thousands, `1,111,111,..x`, is searched once for each comma."""
    found = NUMBER.findall(text, max(0, len(text) - TAIL))
    return Decimal(found[-1].replace(",", "")) if found else None
