"""The last number of the announced answer, or else of the reply; thousands commas, signs and decimals are read.

A gold answer may end in `#### 42`, as GSM8K's do (Cobbe et al. 2021, arXiv:2110.14168).
"""

import re
from decimal import Decimal

from trainers.rlvr.extract import final_answer, thinking_removed
from trainers.rlvr.verdict import Row, Verdict, right, wrong

NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w])")


def verify(row: Row, completion: str) -> Verdict:
    """The same number as the gold answer's."""
    gold = last_number(row["answer"].rpartition("####")[2])
    if gold is None:
        raise ValueError(f"the gold answer {row['answer']!r} holds no number")
    text = thinking_removed(completion)
    said = last_number(final_answer(text) or text)
    if said is None:
        return wrong("no number")
    return right() if said == gold else wrong(f"{said} is not {gold}")


def last_number(text: str) -> Decimal | None:
    """The last number in a text."""
    found = NUMBER.findall(text)
    return Decimal(found[-1].replace(",", "")) if found else None
