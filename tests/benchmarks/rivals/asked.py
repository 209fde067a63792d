"""How a rival is asked: a file of tables in, a file of words out. Run by any Python 3.11, standard library only.

A table is (items, lost, gained): so many of the items are right before and wrong after, and the other way round. A word
is `loss`, `gain`, `kept`, or "" where the rule says nothing.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Table = tuple[int, int, int]
Rule = Callable[[Table, float], Any]
"""From a table and the margin to a word."""
RIGHT = 0.6
"""Of the items that stay as they are."""


def items(table: Table) -> tuple[list[float], list[float]]:
    """1 where an item is right, 0 where it is wrong, before and after: first those lost, then those gained."""
    n, lost, gained = table
    right = round(RIGHT * (n - lost - gained))
    alone = [1.0] * right + [0.0] * (n - lost - gained - right)
    return [1.0] * lost + [0.0] * gained + alone, [0.0] * lost + [1.0] * gained + alone


def accuracies(table: Table) -> tuple[float, float]:
    """Share of the items right, before and after."""
    n, lost, gained = table
    right = round(RIGHT * (n - lost - gained))
    return (right + lost) / n, (right + gained) / n


def answer(rules: Mapping[str, Rule]) -> None:
    """Answer the request in the file of the first argument into that of the second: words and seconds of each rule."""
    request = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    answers = {}
    for name, tables in request["asked"].items():
        start = time.monotonic()
        words = [rules[name](tuple(table), request["margin"]) for table in tables]
        answers[name] = {"words": words, "seconds": time.monotonic() - start}
    Path(sys.argv[2]).write_text(json.dumps(answers), "utf-8")
