"""The number of the announced answer, or else the last one of the reply, however it is written (`numerals`).

An announcement says its answer first (`5 apples, since 3 were eaten`), or behind the last equals sign. A gold answer
may end in `#### 42`, as GSM8K's do (Cobbe et al. 2021, arXiv:2110.14168).
"""

from trainers.rlvr.claim import denied, stated
from trainers.rlvr.extract import ENDS, final_answer, thinking_removed
from trainers.rlvr.numerals import Numeral, joined, numerals, plain_text, same
from trainers.rlvr.verdict import Row, Verdict, golds, right, wrong


def verify(row: Row, completion: str) -> Verdict:
    """The same number as one of the gold answers."""
    due = gold_of(row)
    text = thinking_removed(completion)
    announced = final_answer(text)
    said = first_number(announced) if announced else last_number(ENDS.sub("", text))
    if said is None:
        return wrong("no number that is claimed alone")
    if any(same(gold, said) for gold in due):
        return right(f"says {said}")
    return wrong(f"{said} is not {' or '.join(map(str, due))}")


def gold_of(row: Row) -> list[Numeral]:
    """The numbers that the gold answers end in. Raises ValueError where one holds none."""
    found = []
    for gold in golds(row):
        number = last_number(gold.rpartition("####")[2])
        if number is None:
            raise ValueError(f"the gold answer {gold!r} holds no number")
        found.append(number)
    return found


def first_number(announced: str) -> Numeral | None:
    """The number that an announced answer states; None where it states none, or several."""
    text = stated(plain_text(announced))
    found = numerals(text)
    if (behind := [number for number in found if number.start > text.rfind("=")]) and "=" in text:
        found = behind
    if not found or denied(text, found[0].start, found[0].end):
        return None
    return None if len(found) > 1 and joined(text, *found[:2]) else found[0]


def last_number(reply: str) -> Numeral | None:
    """The last number in a text's end; None where it is one of several that are offered, or denied."""
    text = plain_text(reply)
    found = numerals(text)
    if not found or denied(text, found[-1].start, found[-1].end):
        return None
    return None if len(found) > 1 and joined(text, *found[-2:]) else found[-1]
