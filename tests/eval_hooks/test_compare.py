"""temper compare: the same items of two evaluations, or a clear no."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from eval_hooks.compare import compare, find
from eval_hooks.errors import EvalError
from tests.eval_hooks.runs import run_folder


def shown(a: str, b: str) -> tuple[dict, str]:
    console = Console(file=io.StringIO(), width=140)
    return compare(a, b, console), console.file.getvalue()


def test_a_run_against_itself_differs_in_nothing(tmp_path: Path) -> None:
    run = str(run_folder(tmp_path / "a"))
    entries, text = shown(run, run)
    assert entries["pocket"]["delta"]["value"] == 0.0
    assert (entries["pocket"]["lost"], entries["pocket"]["gained"]) == (0, 0)
    assert entries["pocket"]["verdict"] in {"kept", "undecided"}
    assert "no proven change" in text


def test_two_runs_are_paired_at_their_ends_or_at_a_step(tmp_path: Path) -> None:
    good, bad = str(run_folder(tmp_path / "good")), str(run_folder(tmp_path / "bad", skill=-1.0))
    entries, text = shown(good, bad)
    assert entries["pocket"]["verdict"] == "dropped" and "dropped" in text
    assert shown(good, f"{bad}:0")[0]["pocket"]["delta"]["value"] == 0.0
    assert shown(good, f"{bad}/evals/step-20")[0]["pocket"]["lost"] == entries["pocket"]["lost"]


def test_other_prompts_are_refused(tmp_path: Path) -> None:
    a, b = run_folder(tmp_path / "a"), run_folder(tmp_path / "b", hash_="bbbb")
    with pytest.raises(EvalError, match="asked with other prompts"):
        compare(str(a), str(b))


def test_what_is_not_there_is_answered_with_what_is(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "a")
    with pytest.raises(EvalError, match="no evaluation at step 7; there are: 0, 20"):
        find(f"{run}:7")
    with pytest.raises(EvalError, match="no evaluation there"):
        find(str(tmp_path / "none"))
