"""The result of a query, cell by cell, in any order: the sql task's own judgement."""

from eval_hooks.tasks.sql import cells, denotation_match
from trainers.rlvr.extract import ENDS, thinking_removed
from trainers.rlvr.verdict import Row, Verdict, golds, right, wrong


def verify(row: Row, completion: str) -> Verdict:
    """The same cells as `answer`, or as one of several."""
    text = ENDS.sub("", thinking_removed(completion))
    found = [denotation_match(text, gold) for gold in gold_of(row)]
    return right("the same cells") if any(same for same, _ in found) else wrong(found[0][1])


def gold_of(row: Row) -> list[str]:
    """The gold answers. Raises ValueError where one has no cell."""
    found = golds(row)
    if not all(map(cells, found)):
        raise ValueError(f"the gold answer {row['answer']!r:.60} has no cell")
    return found
