"""Denotation match as a table: the same cells in any order, numbers as numbers."""

import pytest

from eval_hooks.tasks.sql import denotation_match


@pytest.mark.parametrize(
    ("output", "gold", "right"),
    [
        ("3", "3", True),
        ("3.0", "3", True),
        ("03", "3", True),
        ("1,200", "1200", True),
        (" Oslo. ", "oslo", True),
        ("Rome, Oslo", "Oslo, Rome", True),
        ("Oslo", "Oslo, Rome", False),
        ("Oslo, Oslo", "Oslo", False),
        ("Oslo, Rome", "Oslo, Oslo", False),
        ("The answer is 3", "3", False),
        ("", "3", False),
        ("2020-01-02", "2020-01-02", True),
        ("2020-1-2", "2020-01-02", False),
        ("-4", "4", False),
        ("12.5", "12.50", True),
        ("3\n", "3", True),
        ("3\n4", "3", False),
        ("New  York", "new york", True),
        ("Rome\nOslo", "Oslo, Rome", True),
        ("- Rome\n- Oslo", "Oslo, Rome", True),
        ("| Rome |\n|---|\n| Oslo |", "Oslo, Rome", True),
        ("```\nRome, Oslo\n```", "Oslo, Rome", True),
        ('["Rome", "Oslo"]', "Oslo, Rome", True),
        ("[('Rome', 3), ('Oslo', 4)]", "Rome, 3, Oslo, 4", True),
        ("**Rome**; `Oslo`", "Oslo, Rome", True),
        ("−4", "-4", True),
        ("1.2e3", "1,200", True),
        ("100000000001", "100000000000", False),
        ("Rome\nOslo\nBern", "Oslo, Rome", False),
        ("Rome Oslo", "Oslo, Rome", False),
    ],
)
def test_denotation(output: str, gold: str, right: bool) -> None:
    found, reason = denotation_match(output, gold)
    assert found is right
    assert bool(reason) is not right
