"""Verifiers against people: replies as people and models write them, judged by hand (verifier_rows/*.yaml).

Measured when the rows were written, 1,605 replies, 842 of them wrong (right answers refused, wrong ones accepted):
before, math 273 of 343, number 206 of 285, choice 217 of 311, exact 178 of 243, format 179 of 182, sql 178 of 241; now
341 (0, 2), 284 (0, 1), 311, 243, 182 and 241. `5 %` for 5 is accepted since answers to `how many per cent` are written
both ways.
"""

from pathlib import Path

import pytest
import yaml

from trainers.rlvr.judge import VERIFIERS

ROWS = Path(__file__).with_name("verifier_rows")
AGREED = 0.99
"""Share of the replies on which a verifier must agree with the hand."""


@pytest.mark.parametrize(("name", "replies"), [(name, 180 if name == "format" else 200) for name in VERIFIERS])
def test_a_verifier_judges_replies_as_a_person_does(name: str, replies: int) -> None:
    differing, counts = [], {True: 0, False: 0}
    for row in yaml.safe_load((ROWS / f"{name}.yaml").read_text("utf-8")):
        for due, texts in ((True, row.pop("right")), (False, row.pop("wrong"))):
            counts[due] += len(texts)
            verdicts = [(text, VERIFIERS[name].verify(row, text)) for text in texts]
            differing += [(row["answer"], due, text, verdict) for text, verdict in verdicts if verdict.ok != due]
            assert all(verdict.reason for _, verdict in verdicts)
    assert sum(counts.values()) >= replies and 0.4 < counts[False] / sum(counts.values()) < 0.65
    assert len(differing) <= (1 - AGREED) * sum(counts.values()), differing
