"""The result of a query, cell by cell, in any order: the sql task's own judgement."""

from eval_hooks.tasks.sql import denotation_match
from trainers.rlvr.extract import ENDS, thinking_removed
from trainers.rlvr.verdict import Row, Verdict, right, wrong


def verify(row: Row, completion: str) -> Verdict:
    """The same cells as `answer`."""
    same, reason = denotation_match(ENDS.sub("", thinking_removed(completion)), row["answer"])
    return right() if same else wrong(reason)
