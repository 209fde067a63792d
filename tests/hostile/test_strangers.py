"""Commands on what strangers hand in, each in a process of its own: `python -m tests.hostile` prints the whole table."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.cases import Case, cases
from tests.hostile.seed import Seed, seed
from tests.hostile.stage import Stage

QUICK = {
    ("report", "recipe.yaml is a link to a secret"), ("report", "names that break screens"),
    ("compare", "summaries without what they need"), ("watch --once", "metrics.jsonl is a link to .bashrc"),
    ("certify", "code beside the model"), ("export", "a plugin"), ("train --resume", "checkpoints is a link"),
    ("check", "a plugin and a wrong key"), ("train --dry-run", "an alias bomb"), ("data", "a pipe"),
    ("launch --with slurm --print", "a line of its own for sbatch"), ("eval", "weights are a bare pickle"),
    ("plan", "a kernel from the hub"),
}  # fmt: skip
"""A command and an input of each kind; the rest is soak."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, small_vocabulary: Path) -> Iterator[Seed]:
    """A home with things to lose, and a run folder that is as it should be."""
    stage = Stage(tmp_path_factory.mktemp("strangers") / "stage", limit_s=120)
    yield seed(stage, small_vocabulary)
    stage.close()


def test_every_quick_case_is_a_case() -> None:
    assert {(case.command, case.input) for case in cases()} >= QUICK


@pytest.mark.parametrize("case", [one for one in cases() if (one.command, one.input) in QUICK], ids=lambda c: c.name)
def test_nothing_of_the_users_is_touched_and_it_ends_with_a_sentence(case: Case, made: Seed) -> None:
    found = case.run(made)
    assert not found.wrong, found.text


@pytest.mark.soak
@pytest.mark.parametrize("case", [*cases()], ids=lambda case: case.name)
def test_so_does_every_command_on_every_input(case: Case, made: Seed) -> None:
    found = case.run(made)
    assert not found.wrong, found.text
