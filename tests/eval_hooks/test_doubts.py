"""What is said of a base that cannot show a loss, and of pairs; from summaries as they are written."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from eval_hooks.report.screen import last_screen
from eval_hooks.report.view import read_run
from eval_hooks.report.words import doubts, doubts_now
from eval_hooks.summary import summarise_task
from eval_hooks.tasks.kinds.pairs import held_out
from tests.eval_hooks.runs import run_folder
from tests.eval_hooks.tables import choices


def entry(right: int, n: int, mass: float | None) -> dict[str, Any]:
    table = choices([[1, 0, 0, 0]] * right + [[0, 1, 0, 0]] * (n - right), [0] * n)
    return {**summarise_task(table, role="retain"), "letter_mass": mass}


@pytest.mark.parametrize(
    ("right", "mass", "said"),
    [
        (60, 0.9, []),
        (60, None, []),
        (26, 0.9, ["cannot be told from guessing (25 %)"]),
        (8, 0.9, ["is below guessing (25 %)"]),
        (60, 0.21, ["only 21 % of the probability is on the letters"]),
        (8, 0.21, ["is below guessing", "only 21 %"]),
    ],
)
def test_a_base_that_cannot_show_a_loss_is_doubted(right: int, mass: float | None, said: list[str]) -> None:
    found = doubts("mmlu", entry(right, 100, mass))
    assert len(found) == len(said) and all(part in text for part, text in zip(said, found, strict=True))
    assert all("olmes_cf" in text for text in found)


def test_other_kinds_and_failures_are_not() -> None:
    assert doubts("sql", {"status": "ok", "kind": "generate"}) == doubts("x", {"status": "failed"}) == []


def test_the_screen_says_it(tmp_path: Path) -> None:
    console = Console(record=True, width=160)
    console.print(last_screen(read_run(run_folder(tmp_path / "run"))))
    assert "Beware" not in console.export_text()


def test_saturated_confidences_and_letters_without_mass_are_said_of_the_last_evaluation_too() -> None:
    """90 of 100 items at logits 40 against 0: confidence 1 - 3e-18, and the 10 wrong ones' right option has e^-40."""
    sure = summarise_task(choices([[40.0, 0, 0, 0]] * 100, [0] * 90 + [1] * 10), role="retain")
    assert (sure["saturated"], sure["nll_clipped"]) == (1.0, 10)
    said = doubts_now("mmlu", entry(60, 100, 0.9), {**sure, "letter_mass": 0.003})
    assert len(said) == 3 and "100 % of the confidences are above 0.9999" in said[0]
    assert "0 to a computer in 10 of 100 items" in said[1] and "less than 1 % of the probability" in said[2]
    assert doubts_now("mmlu", entry(60, 100, 0.9), entry(60, 100, 0.9)) == []
    assert len(doubts_now("mmlu", entry(60, 100, 0.2), entry(60, 100, 0.2))) == 1


def test_pairs_say_how_far_the_model_went() -> None:
    e = {"value": 0.5, "low": 0.4, "high": 0.6}
    keys = ("accuracy", "margin", "chosen_change", "rejected_change", "likelier", "kl", "length")
    after = {"kind": "pairs", "n": 3, **dict.fromkeys(keys, e)}
    _, text = held_out("pairs", {**after, "length": {"value": 16.0}}, after)
    assert "KL from step 0 0.500 (0.400 to 0.600) nats an answer; its answers 16.0 -> 0.5 tokens long" in text


def test_prompts_that_were_cut_are_counted_and_said() -> None:
    (said,) = doubts("mmlu", {**entry(60, 100, 0.9), "cut": 3})
    assert said.startswith("mmlu: 3 prompts are longer than the model reads")
